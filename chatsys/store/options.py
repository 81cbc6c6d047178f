"""The options of a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from chatsys.errors import SettingsError

SMALLEST_POOL = 5
"""The least number of connections: one for each share."""


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections each kind of work has, so that no kind takes those of another.

    ``sends`` is for messages and receipts, ``locked`` for waiting for locked rooms and other locked rows,
    ``housekeeping`` for sessions, heartbeats and readiness checks, ``reads`` for everything else. One more connection
    holds the servers' locks.
    """

    sends: int
    locked: int
    housekeeping: int
    reads: int


def shares(size: int) -> Shares:
    """Divide ``size`` connections. Raises SettingsError if they are too few."""
    if size < SMALLEST_POOL:
        raise SettingsError("pool_size", str(size), f"at least {SMALLEST_POOL} connections, one for each share")
    sends, locked, housekeeping = (3, 2, 4) if size >= 15 else (2, 1, 2) if size >= 8 else (1, 1, 1)
    return Shares(sends=sends, locked=locked, housekeeping=housekeeping, reads=size - 1 - sends - locked - housekeeping)


class StoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a PostgreSQL store; the memory store has none.

    Units: sizes in connections and rows, times in seconds.
    """

    pool_size: int = 18
    """All connections of the store together, at least SMALLEST_POOL; see ``shares``."""
    synchronous_commit: str = "on"
    statement_timeout: float = 3.0
    connect_timeout: float = 4.0
    write_queue: int = 10_000
    lease: float = 15.0
    ssl: bool = False
    ssl_ca_file: Path | None = None
    data_dir: Path = Path(".chatsys/postgres")
    observe: Callable[[str, float], None] = lambda name, value: None
    """Called with each measurement: ``statement`` 1, ``pool_wait`` seconds, ``flush_rows`` rows, ``flush`` seconds."""


Upgrade = Callable[[str, StoreOptions], object]
"""Upgrades the database at a URL to this program's schema. The store calls it in a thread."""
