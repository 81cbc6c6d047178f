"""Which program a run measured, on which machine, and whether the machine was quiet."""
