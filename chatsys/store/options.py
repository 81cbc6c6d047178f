"""How a store behaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from chatsys.errors import SettingsError

SMALLEST_POOL = 5
"""Connections: one for each share."""


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections there are for what, so that nobody takes those of the others.

    ``sends`` are messages and receipts, ``locked`` the waiting for rooms and other rows that somebody has locked,
    ``housekeeping`` sessions, heartbeat and readiness, ``reads`` all else; one more holds the servers' locks.
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
    """How a PostgreSQL store behaves; the memory store needs none of it.

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
    """Told what the store does: ``statement`` 1, ``pool_wait`` seconds, ``flush_rows`` rows, ``flush`` seconds."""


Upgrade = Callable[[str, StoreOptions], object]
"""Brings the database at a URL to this program's schema; called in a thread."""
