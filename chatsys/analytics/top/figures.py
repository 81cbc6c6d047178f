"""The figures of the screen as one table: the source, unit and thresholds of each, and what a bad value means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from chatsys.analytics.top.looking import Look
from chatsys.analytics.top.serving import quantile

Value = float | None
Get = Callable[[Look, Look], Value]


class Level(Enum):
    """The verdict on a value: its colour, and a mark for terminals without colours."""

    good = ("", "")
    warn = ("yellow", "!")
    bad = ("bold red", "!!")


@dataclass(frozen=True)
class TopFigure:
    """One figure. ``unit`` is an ending that :func:`human` knows; ``warn`` and ``bad`` are in the same unit.

    With ``low``, small values are bad. ``means`` says what a bad value means and where to look.
    """

    group: str
    name: str
    unit: str
    get: Get
    warn: float | None = None
    bad: float | None = None
    low: bool = False
    means: str = ""

    def level(self, value: Value) -> Level:
        """The verdict on this value."""
        for bound, level in ((self.bad, Level.bad), (self.warn, Level.warn)):
            if value is not None and bound is not None and (value < bound if self.low else value > bound):
                return level
        return Level.good


def _value(look: Look, name: str) -> Value:
    """A value of the database, whose name has a dot, or of the server; None if it could not be read."""
    found: Value = look.database.get(name, (look.server or {}).get(name))
    return found


def _now(name: str) -> Get:
    return lambda before, after: _value(after, name)


def _rate(name: str) -> Get:
    return lambda before, after: _grown(_value(before, name), _value(after, name), after.at - before.at)


def _timed(histogram: str, share: float, label: str = "") -> Get:
    def get(before: Look, after: Look) -> Value:
        if before.server is None or after.server is None:
            return None
        seconds = quantile(before.server, after.server, histogram, share, label)
        return None if seconds is None else seconds * 1000

    return get


def _grown(before: Value, after: Value, seconds: float) -> Value:
    """The rate per second; None for the first look, and after a counter was reset."""
    if before is None or after is None or seconds <= 0 or after < before:
        return None
    return (after - before) / seconds


def _cache(before: Look, after: Look) -> Value:
    hits = _rate("pulse.buffer_hits_total")(before, after)
    reads = _rate("pulse.buffer_reads_total")(before, after)
    return None if hits is None or reads is None or not hits + reads else hits / (hits + reads)


def _database_cpu(before: Look, after: Look) -> Value:
    return _grown(before.database_cpu, after.database_cpu, after.at - before.at)


def _used(before: Look, after: Look) -> Value:
    used, allowed = _value(after, "pulse.connections"), _value(after, "max_connections")
    return None if used is None or not allowed else used / allowed


FIGURES: tuple[TopFigure, ...] = (
    TopFigure("chat", "messages", "_per_second", _rate("chat_totals.messages_total")),
    TopFigure("chat", "deliveries", "_per_second", _rate("message_deliveries.rows_inserted_total")),
    TopFigure("chat", "reads", "_per_second", _rate("message_reads.rows_inserted_total")),
    TopFigure("chat", "sessions", "", _now("chat_totals.sessions")),
    TopFigure("chat", "people", "", _now("chat_totals.active_users")),
    TopFigure("chat", "servers", "", _now("chat_totals.servers"), warn=1, bad=1, low=True,
           means="no server has a valid lease: nobody can chat"),
    TopFigure("lag", "delivery p50", "_ms", _now("lags.delivery_p50_ms"), warn=100, bad=1_000,
           means="late: look at the servers' CPU and flushes"),
    TopFigure("lag", "delivery p99", "_ms", _now("lags.delivery_p99_ms"), warn=1_000, bad=10_000,
           means="slow clients, or reconnects"),
    TopFigure("lag", "reader p50", "_ms", _now("lags.read_p50_ms")),
    TopFigure("lag", "reader p99", "_ms", _now("lags.read_p99_ms")),
    TopFigure("server", "connections", "", _now("chatsys_connections")),
    TopFigure("server", "ack p50", "_ms", _timed("chatsys_ack_seconds", 0.5, "send-message"), warn=50, bad=500,
           means="senders wait: look at flushes and CPU"),
    TopFigure("server", "ack p99", "_ms", _timed("chatsys_ack_seconds", 0.99, "send-message"), warn=250, bad=2_000,
           means="some senders wait: locks, checkpoints"),
    TopFigure("server", "flush p50", "_ms", _timed("chatsys_flush_seconds", 0.5), warn=20, bad=100,
           means="slow commits: the disk, or locks"),
    TopFigure("server", "flush p99", "_ms", _timed("chatsys_flush_seconds", 0.99), warn=100, bad=1_000,
           means="slow commits: checkpoints, or locks"),
    TopFigure("server", "cpu", "_ratio", _rate("process_cpu_seconds_total"), warn=0.7, bad=0.9,
           means="one core per process: raise CHATSYS_WORKERS"),
    TopFigure("server", "pushed", "_per_second", _rate("chatsys_deliveries_total")),
    TopFigure("server", "waiting", "_bytes", _now("chatsys_waiting_bytes"), warn=32 << 20, bad=256 << 20,
           means="clients that do not read"),
    TopFigure("database", "commits", "_per_second", _rate("pulse.commits_total")),
    TopFigure("database", "rollbacks", "_per_second", _rate("pulse.rollbacks_total"), warn=10, bad=100,
           means="look at the servers' logs"),
    TopFigure("database", "WAL", "_bytes_per_second", _rate("pulse.wal_bytes_total"), warn=32 << 20, bad=128 << 20,
           means="the disk and the standbys must keep up"),
    TopFigure("database", "cache", "_ratio", _cache, warn=0.95, bad=0.8, low=True,
           means="raise shared_buffers"),
    TopFigure("database", "cpu", "_ratio", _database_cpu),
    TopFigure("database", "temp", "_bytes_per_second", _rate("pulse.temporary_bytes_total"), warn=1 << 20, bad=64 << 20,
           means="sorts do not fit into work_mem"),
    TopFigure("backends", "connections", "", _now("pulse.connections")),
    TopFigure("backends", "of allowed", "_ratio", _used, warn=0.7, bad=0.9,
           means="lower DB_POOL_SIZE"),
    TopFigure("backends", "active", "", _now("pulse.active")),
    TopFigure("backends", "idle in tx", "", _now("pulse.idle_in_transaction"), warn=5, bad=20,
           means="clients do not commit: see pane 2"),
    TopFigure("backends", "lock waits", "", _now("pulse.lock_waits"), warn=2, bad=10,
           means="pane 3 shows who waits for whom"),
    TopFigure("backends", "longest tx", "_ms", _now("pulse.longest_transaction_ms"), warn=10_000, bad=300_000,
           means="holds locks, delays VACUUM: see pane 2"),
)  # fmt: skip
"""In the order of the screen, with one line for each group."""
