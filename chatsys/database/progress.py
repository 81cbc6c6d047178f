"""The progress of long operations. The caller of an operation passes a function that shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

Report = Callable[[str, float, float], None]
"""Called with what is being done, how much of it is done, and the total (0 if unknown)."""

_ESTIMATES = """
SELECT c.oid, c.relname, greatest(c.reltuples, s.n_live_tup, 0)::float8
FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relkind = 'r'
"""

# The server's report on each COPY that pg_dump runs: PostgreSQL 14's manual, 28.4.6.
_COPYING = """
SELECT c.relid, c.tuples_processed::float8
FROM pg_stat_progress_copy c JOIN pg_stat_activity a USING (pid)
WHERE c.datname = current_database() AND c.command = 'COPY TO' AND a.application_name = 'pg_dump'
"""


def silent(doing: str, done: float, whole: float) -> None:
    """Show nothing."""


def estimated(connection: psycopg.Connection[Any], *tables: str) -> float:
    """The number of rows of these tables together, by the server's statistics."""
    return float(sum(rows for _, name, rows in connection.execute(_ESTIMATES) if name in tables))


class Dumped:
    """The progress of a pg_dump of this database. The server's statistics give an estimate of the total.

    ``connection`` may be the one that holds the dumped snapshot.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._estimates: dict[int, float] = {table: rows for table, _, rows in connection.execute(_ESTIMATES)}
        self._seen: dict[int, float] = {}

    def look(self) -> tuple[float, float]:
        """The rows that were written, and the estimated total. A table whose copy has ended counts in full."""
        self._connection.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees the same statistics again
        copying = dict(self._connection.execute(_COPYING).fetchall())
        self._seen |= copying
        done = sum(rows if table in copying else self._estimates.get(table, rows) for table, rows in self._seen.items())
        return done, sum(self._estimates.values())
