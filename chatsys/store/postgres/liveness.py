"""Which servers are dead, as one server sees it: because their process is gone, or because they are silent.

A server is silent if this server, by its own clock, has long seen its lease unchanged and has itself missed no
heartbeat in that time. So no server counts as dead because the database was unavailable, whatever the database's clock
says afterwards. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from chatsys.store.contract import HEARTBEATS

_SILENT_AFTER = HEARTBEATS - 1.1
"""The heartbeats that a silent server has missed. One more may pass until this server looks, which makes a lease."""

_STALLED_AFTER = 2
"""If more heartbeats than this fit between two heartbeats of this server, it has missed one."""


class Other(NamedTuple):
    """Another server, as the database has it."""

    server_id: str
    lease_until: datetime
    process: str | None


class Dead(NamedTuple):
    """Servers whose process is ``gone``, and ``silent`` servers, which are dead if their lock is also free."""

    gone: list[Other]
    silent: list[Other]


class Liveness:
    """What one server has seen of the others. ``is_running`` says whether a process runs (None: unknown here)."""

    def __init__(self, lease: float, is_running: Callable[[str | None], bool | None]) -> None:
        self._lease = lease
        self._beat = lease / HEARTBEATS
        self._is_running = is_running
        self._renewed: float | None = None
        self._steady_since = 0.0
        self._seen: dict[str, tuple[datetime, float]] = {}

    def missed(self) -> None:
        """A heartbeat of this server failed."""
        self._renewed = None

    def renewed(self, now: float) -> None:
        """A heartbeat of this server succeeded."""
        if self._renewed is None or now - self._renewed > _STALLED_AFTER * self._beat:
            self._steady_since = now
            self._seen.clear()
        self._renewed = now

    def judge(self, others: Iterable[Other], now: float) -> Dead:
        """Decide, after a heartbeat, which other servers are dead."""
        dead = Dead([], [])
        seen: dict[str, tuple[datetime, float]] = {}
        for other in others:
            lease_until, since = self._seen.get(other.server_id, (None, now))
            since = since if lease_until == other.lease_until else now
            seen[other.server_id] = other.lease_until, since
            running = self._is_running(other.process)
            if running is False:
                dead.gone.append(other)
            elif running is None and now - max(since, self._steady_since + self._beat) >= _SILENT_AFTER * self._beat:
                dead.silent.append(other)
        self._seen = seen
        return dead
