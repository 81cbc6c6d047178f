"""How a store behaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec


class StoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a PostgreSQL store behaves; the memory store needs none of it.

    Units: sizes in connections and rows, times in seconds.
    """

    pool_size: int = 20
    synchronous_commit: str = "on"
    statement_timeout: float = 30.0
    connect_timeout: float = 4.0
    write_queue: int = 10_000
    lease: float = 15.0
    ssl: bool = False
    ssl_ca_file: Path | None = None
    data_dir: Path = Path(".chatsys/postgres")
    create: bool = True
    """Bring an empty or older database to this program's schema when opening."""
    observe: Callable[[str, float], None] = lambda name, value: None
    """Told what the store does: ``statement`` 1, ``pool_wait`` seconds, ``flush_rows`` rows, ``flush`` seconds."""
