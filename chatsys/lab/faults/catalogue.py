"""The table of all faults. Importing the modules that define them fills it."""

from __future__ import annotations

from chatsys.errors import OperatorError
from chatsys.lab.faults import buses, database, hostile, lost, official, operator, processes
from chatsys.lab.faults.fault import FAULTS, Fault, matches

MODULES = (processes, database, lost, hostile, buses, operator, official)


def chosen(only: str = "", *, short: bool = False) -> list[Fault]:
    """The faults whose names match ``only``, with ``short`` those of the short form. Raises OperatorError for none."""
    found = [fault for fault in FAULTS.values() if matches(fault.name, only) and (fault.short or not short)]
    if not found:
        raise OperatorError(f"No fault's name contains {only!r}.", hint="The faults are: " + "; ".join(FAULTS))
    return found
