"""Which program a run measured, and on which machine: what a record says, and whether the machine was quiet."""
