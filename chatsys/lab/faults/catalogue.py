"""The table of faults: importing the modules that hold them fills it."""

from __future__ import annotations

from chatsys.errors import OperatorError
from chatsys.lab.faults import buses, database, hostile, lost, official, operator, processes
from chatsys.lab.faults.fault import FAULTS, Fault

MODULES = (processes, database, lost, hostile, buses, operator, official)


def chosen(only: str = "", *, short: bool = False) -> list[Fault]:
    """The faults whose names contain one of the comma-separated words of ``only``. Raises OperatorError for none."""
    words = [word.strip() for word in only.split(",") if word.strip()]
    found = [
        fault
        for fault in FAULTS.values()
        if (not words or any(word in fault.name for word in words)) and (fault.short or not short)
    ]
    if not found:
        raise OperatorError(f"No fault's name contains {only!r}.", hint="They are: " + "; ".join(FAULTS))
    return found
