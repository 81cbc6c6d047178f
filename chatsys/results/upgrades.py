"""Older result files get the names that this version writes, when they are read.

``SCHEMA_VERSION`` is the version of result.json (of benchmarks, load tests and recordings) and of comparison.json.
Version 1 had other names for the baselines, the targets, the repetitions and the experiment ``endpoints``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

SCHEMA_VERSION = 2
COLUMNS = {"contestant": "subject"}
"""Columns of Parquet files: old name -> present name."""
_FIELDS = {"floors": "baselines", "marks": "targets", "turns": "repetitions"}
_PARAMETERS = {"turn": "repetition", "growth_turn": "growth_repetition", "turns": "repetitions"}


def upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """A record with the names of this version. Raises ValueError for a schema version that this program lacks."""
    found = record.get("schema_version")
    if found not in (1, SCHEMA_VERSION):
        raise ValueError(f"schema_version {found}; this program reads 1 to {SCHEMA_VERSION}")
    return _from_version_1(record) if found == 1 else record


def _from_version_1(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _renamed(record, _FIELDS) | {"schema_version": SCHEMA_VERSION}
    for name, change in _CHANGES.items():
        if name in found:
            found[name] = change(found[name])
    return found


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A dict with these keys renamed. Any other value is returned as it is: whoever reads the record refuses it."""
    return {names.get(key, key): each for key, each in value.items()} if isinstance(value, dict) else value


def _in_each(field: str, change: Callable[[str], str]) -> Callable[[Any], Any]:
    """A change of the text ``field`` in each dict of a list."""

    def changed(rows: Any) -> Any:
        if not isinstance(rows, list):
            return rows
        return [
            {**row, field: change(row[field])} if isinstance(row, dict) and isinstance(row.get(field), str) else row
            for row in rows
        ]

    return changed


_CHANGES: dict[str, Callable[[Any], Any]] = {
    "parameters": lambda parameters: _renamed(parameters, _PARAMETERS),
    "repetitions": _in_each("store", lambda store: "postgresql" if store == "postgres" else store),
    "timings": _in_each("what", lambda what: re.sub(r"^doors\b", "endpoints", what)),
}
"""What else changed in a field of the record, by its present name."""
