"""Read the database, the server and the operating system once; two such looks give the rates of a screen."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import psutil
from sqlalchemy import text

from chatsys.analytics.monitor import Monitor
from chatsys.analytics.source import is_local
from chatsys.analytics.top.serving import Samples, metrics

PANES = ("rooms", "queries", "blocking")
PANE_QUERIES: dict[str, tuple[str, dict[str, int]]] = {
    "rooms": ("busiest_rooms", {"minutes": 1, "limit": 50}),
    "queries": ("running_queries", {}),
    "blocking": ("blocking", {}),
}
_OWN_PID = text("SELECT pg_backend_pid(), current_setting('max_connections')::int")


@dataclass(frozen=True)
class Look:
    """All values at one moment. ``at`` is a monotonic time in seconds. Values that could not be read are missing."""

    at: float
    database: dict[str, Any] = field(default_factory=dict)
    server: Samples | None = None
    database_cpu: float | None = None
    pane: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()


class Looker:
    """Looks at one database and, if it answers, the server at ``server`` (an http URL)."""

    def __init__(self, monitor: Monitor, server: str) -> None:
        self.monitor = monitor
        self.server = server

    def look(self, pane: str) -> Look:
        """One look. Raises the StoreError that says why the database did not answer."""
        at = time.monotonic()
        notes: list[str] = []
        values: dict[str, Any] = {}
        for name in ("pulse", "chat_totals", "lags"):
            frame = self.monitor.quiet(name)
            notes += frame.attrs["warnings"]
            if len(frame):
                values |= {f"{name}.{key}": _plain(value) for key, value in frame.iloc[0].items()}
        activity = self.monitor.quiet("table_activity").set_index("table_name")["rows_inserted_total"]
        for table in ("message_deliveries", "message_reads"):
            if table in activity.index:
                values[f"{table}.rows_inserted_total"] = float(activity.loc[[table]].sum())
        with self.monitor.reading() as connection:
            backend, values["max_connections"] = connection.execute(_OWN_PID).one()
        query, parameters = PANE_QUERIES[pane]
        shown = self.monitor.quiet(query, **parameters)
        return Look(at, values, metrics(self.server), self._cpu(backend), shown, tuple(dict.fromkeys(notes)))

    def _cpu(self, backend: int) -> float | None:
        """CPU seconds that the database's processes have used; None if the database is on another machine."""
        if not is_local(self.monitor.address):
            return None
        try:
            postmaster = psutil.Process(backend).parent()
            if postmaster is None or "postgres" not in postmaster.name():
                return None
            return _seconds(postmaster, ended=True) + sum(map(_seconds, postmaster.children()))
        except psutil.Error:
            return None


def _seconds(process: psutil.Process, *, ended: bool = False) -> float:
    """CPU seconds of a process and, with ``ended``, of its ended children, if the system counts those."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    children = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0) if ended else 0.0
    return float(times.user + times.system + children)


def _plain(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
