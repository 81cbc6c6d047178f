"""A recording of a monitor as frames: one for each query, the watch, and the difference of two snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from chatsys.analytics.runs.files import Run, beside, needs, timed
from chatsys.errors import OperatorError

_LOCUST = {
    "Timestamp": "time", "User Count": "users", "Requests/s": "requests_per_second",
    "Failures/s": "failures_per_second", "50%": "p50_ms", "95%": "p95_ms", "99%": "p99_ms",
}  # fmt: skip


def monitored(run: Run, name: str) -> pd.DataFrame:
    """The frame that a query returned for the recording; ``watch`` and ``diff`` cover the whole recording.

    Raises OperatorError for a name that the recording does not have.
    """
    needs(run, "monitoring")
    frames = run.record["frames"]
    if name not in frames:
        raise OperatorError(f"{run.id} has no {name!r}.", hint=f"It has {', '.join(frames)}.")
    return _unpacked(frames[name])


def beside_locust(run: Run, history: str | Path) -> pd.DataFrame:
    """A recording joined by time with Locust's history (``--csv NAME`` writes ``NAME_stats_history.csv``).

    A row for each second of the history: taken_at, users, requests_per_second, failures_per_second, p50_ms, p95_ms,
    p99_ms (of all requests), then the columns of the nearest row of ``monitored(run, "watch")`` within two seconds,
    missing if there is none. Both clocks must agree. Raises OperatorError for a file that Locust did not write.
    """
    try:
        written = pd.read_csv(history, na_values=["N/A"])
        whole = written.loc[written["Name"].eq("Aggregated"), list(_LOCUST)].rename(columns=_LOCUST)
    except (OSError, ValueError, KeyError) as error:
        raise OperatorError(
            f"{history} is not a history file of Locust: {error}.",
            hint="Run Locust with --csv NAME, and use NAME_stats_history.csv.",
        ) from error
    joined = beside(timed(whole.astype("float64")), monitored(run, "watch").sort_values("taken_at"), seconds=2)
    joined.attrs = {"run": run.id, "history": str(history)}
    return joined


def _unpacked(frame: dict[str, Any]) -> pd.DataFrame:
    columns: dict[str, pd.Series[Any]] = {}
    for number, (name, kind) in enumerate(frame["dtypes"].items()):
        dtype: Any = kind
        cells = pd.Series([row[number] for row in frame["rows"]], dtype="object")
        columns[name] = (pd.to_datetime(cells, utc=True) if kind.startswith("datetime") else cells).astype(dtype)
    result = pd.DataFrame(columns)
    result.attrs = dict(frame["attrs"])
    return result
