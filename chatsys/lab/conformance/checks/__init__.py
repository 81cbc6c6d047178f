"""The checks, one module for each part of docs/PROTOCOL.md."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection

from chatsys.lab.conformance.check import CHECKS, Check


def all_checks() -> Collection[Check]:
    """Every check, after importing the modules of this package, which register them."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return CHECKS.values()
