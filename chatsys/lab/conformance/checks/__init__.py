"""The checks, one module for each part of docs/PROTOCOL.md."""

from __future__ import annotations

import importlib
from collections.abc import Collection

from chatsys.lab.conformance.check import CHECKS, Check

MODULES = (
    "conventions",
    "tokens",
    "profiles",
    "registration",
    "login",
    "users",
    "rooms",
    "messages",
    "connections",
    "guests",
    "joining",
    "sending",
    "receipts",
    "presence",
    "leaving",
    "pushes",
    "health",
    "additions",
)


def all_checks() -> Collection[Check]:
    """Every check, in the order of the modules."""
    for module in MODULES:
        importlib.import_module(f"{__name__}.{module}")
    return CHECKS.values()
