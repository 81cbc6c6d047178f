"""A recording of a monitor as frames: each query's, the watch's and the difference of two snapshots."""

from __future__ import annotations

from typing import Any

import pandas as pd

from chatsys.analytics.runs.files import Run, needs
from chatsys.errors import OperatorError


def monitored(run: Run, name: str) -> pd.DataFrame:
    """The frame that a query gave when the recording was made; ``watch`` and ``diff`` are those of the whole time."""
    needs(run, "monitoring")
    frames = run.record["frames"]
    if name not in frames:
        raise OperatorError(f"{run.id} holds no {name!r}.", hint=f"There are {', '.join(frames)}.")
    return _unpacked(frames[name])


def _unpacked(frame: dict[str, Any]) -> pd.DataFrame:
    columns: dict[str, pd.Series[Any]] = {}
    for number, (name, kind) in enumerate(frame["dtypes"].items()):
        dtype: Any = kind
        cells = pd.Series([row[number] for row in frame["rows"]], dtype="object")
        columns[name] = (pd.to_datetime(cells, utc=True) if kind.startswith("datetime") else cells).astype(dtype)
    result = pd.DataFrame(columns)
    result.attrs = dict(frame["attrs"])
    return result
