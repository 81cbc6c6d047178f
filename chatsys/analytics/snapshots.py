"""Snapshots of the server's counters, and what happened between two of them: rates, and the cost of one message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from chatsys.analytics.catalogue import QUERIES

SOURCES = ("throughput", "wal", "checkpoints", "io", "statements", "table_activity", "chat_totals")
"""The queries whose counters a snapshot holds."""

_KEY = ["source", "object", "counter"]
_DTYPES = dict.fromkeys(_KEY, "string") | {"value": "float64", "stats_reset_at": "datetime64[us, UTC]"}


@dataclass(frozen=True)
class Snapshot:
    """Every counter at one moment.

    ``frame`` has a row for each counter: source (the query), object (the table or process, empty for the whole),
    counter, value, stats_reset_at. ``server_started_at`` shows whether the server restarted.
    """

    taken_at: datetime
    server_started_at: str
    frame: pd.DataFrame

    @classmethod
    def of(cls, taken_at: datetime, frames: dict[str, pd.DataFrame]) -> Snapshot:
        """A snapshot from the frames of queries."""
        rows = [row for source, frame in frames.items() for row in _counters(source, frame)]
        long = pd.DataFrame(rows, columns=list(_DTYPES)).astype(_DTYPES)
        started = next(iter(frames.values())).attrs["server_started_at"]
        return cls(taken_at, started, long)


def _counters(source: str, frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    query = QUERIES[source]
    rows: list[tuple[Any, ...]] = []
    for record in frame.to_dict("records"):
        subject = " ".join(str(record[key]) for key in query.keys if key != "synchronous_commit")
        reset = record.get("stats_reset_at", pd.NaT)
        rows += [(source, subject, name, record[name], reset) for name in query.counters if not pd.isna(record[name])]
    return rows


def diff(before: Snapshot, after: Snapshot) -> pd.DataFrame:
    """What happened between two snapshots, with a row for each counter.

    Columns: source, object, counter, before, after, delta, per_second, per_message (delta by the messages stored in
    between), is_reset. If statistics were reset, the server restarted or the object was created again, ``is_reset`` is
    true, and delta and rates are missing, because the lost counts are unknown. ``attrs`` has the seconds and messages.
    """
    seconds = (after.taken_at - before.taken_at).total_seconds()
    joined = before.frame.merge(after.frame, on=_KEY, suffixes=("_before", "_after"), how="right")
    joined = joined.rename(columns={"value_before": "before", "value_after": "after"})
    resets = joined["stats_reset_at_before"].ne(joined["stats_reset_at_after"]) & joined["stats_reset_at_after"].notna()
    durable = joined["source"].eq("chat_totals")  # counted in tables, which survive a restart
    restarted = before.server_started_at != after.server_started_at
    new = joined["before"].isna()
    joined["before"] = joined["before"].fillna(0.0)
    joined["is_reset"] = (joined["after"].lt(joined["before"]) | (~durable & (restarted | (~new & resets)))).astype(
        "boolean"
    )
    joined["delta"] = (joined["after"] - joined["before"]).mask(joined["is_reset"].astype(bool))
    messages = joined.loc[joined["counter"].eq("messages_total"), "delta"].sum()
    joined["per_second"] = joined["delta"] / seconds if seconds > 0 else float("nan")
    joined["per_message"] = joined["delta"] / messages if messages > 0 else float("nan")
    result = joined[[*_KEY, "before", "after", "delta", "per_second", "per_message", "is_reset"]]
    result.attrs = {
        "from": before.taken_at.isoformat(),
        "to": after.taken_at.isoformat(),
        "seconds": seconds,
        "messages": int(messages),
    }
    return result
