"""Every helper of a monitor, and the dtypes that each frame must have on every machine."""

from __future__ import annotations

import warnings

import pandas as pd

from chatsys.analytics import Monitor, MonitorWarning, diff
from chatsys.analytics.catalogue import QUERIES

_TIME = "datetime64[us, UTC]"
_KEY = {"source": "string", "object": "string", "counter": "string"}
_PULSE = [column for name in ("pulse", "chat_totals") for column in QUERIES[name].columns]

DECLARED: dict[str, dict[str, str]] = {
    **{name: {column.name: column.dtype for column in query.columns} for name, query in QUERIES.items()},
    "snapshot": {**_KEY, "value": "float64", "stats_reset_at": _TIME},
    "diff": {
        **_KEY,
        **dict.fromkeys(("before", "after", "delta", "per_second", "per_message"), "float64"),
        "is_reset": "boolean",
    },
    "watch": {
        "taken_at": _TIME,
        "elapsed_ms": "float64",
        **{column.name: column.dtype for column in _PULSE},
        **{f"{column.name.removesuffix('_total')}_per_second": "float64" for column in _PULSE if column.is_counter},
    },
}


def every_helper(monitor: Monitor) -> dict[str, pd.DataFrame]:
    """Return what each helper returns, without the warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MonitorWarning)
        found = {name: getattr(monitor, name)() for name in QUERIES}
    before = monitor.snapshot()
    with monitor.watch(every=0.01) as watch:
        pass
    return {**found, "snapshot": before.frame, "diff": diff(before, monitor.snapshot()), "watch": watch.frame()}


def dtypes(found: dict[str, pd.DataFrame]) -> dict[str, dict[str, str]]:
    """Return the dtype of every column of every frame."""
    return {name: {str(column): str(kind) for column, kind in frame.dtypes.items()} for name, frame in found.items()}
