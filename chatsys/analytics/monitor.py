"""A PostgreSQL server and its chat as pandas frames, which are tidy and typed and say where they came from."""

from __future__ import annotations

import asyncio
import difflib
import time
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Self

import pandas as pd
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from chatsys import __version__
from chatsys.analytics import sql
from chatsys.analytics.catalogue import QUERIES, Query
from chatsys.analytics.frames import frame_of
from chatsys.analytics.remedies import answers_with_note, remedy
from chatsys.analytics.snapshots import SOURCES, Snapshot
from chatsys.analytics.source import UNKNOWN, AsyncpgConnection, Source, explained, open_source, sqlstate
from chatsys.analytics.watching import Watch
from chatsys.database.connecting import meaning
from chatsys.errors import OperatorError, UnsupportedServer
from chatsys.extras import require

_FACTS = """
    SELECT current_database()::text, current_user::text, current_setting('server_version'),
           current_setting('server_version_num')::int / 10000, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
           pg_postmaster_start_time()
"""


class MonitorWarning(UserWarning):
    """A frame is empty or partial because the server or the role lacks something; the message says what to do."""


class Monitor:
    """Reads one database. Each method runs one query and returns a frame.

    Columns have the same dtypes on every PostgreSQL from 14 to 18 and for zero rows; units are in the names
    (``_bytes``, ``_ms``, ``_ratio`` from 0 to 1, ``_per_second``; ``_total`` is a counter since the statistics began);
    times are UTC. ``df.attrs`` says where the frame came from. What the role may not see is missing, and a
    MonitorWarning says so.

    Every call runs in its own read-only transaction, which is cancelled after ``timeout`` seconds. Calls block, also in
    a notebook. Several threads may use one monitor. The frames leave out the monitor's own connection.
    """

    def __init__(self, source: Source | AsyncpgConnection, *, timeout: float = 30.0) -> None:
        """Take a URL that the server or SQLAlchemy accepts, an Engine, which the caller keeps, an AsyncEngine or a
        psycopg connection, of which only the address is used, or an asyncpg connection. Only its own event loop can use
        an asyncpg connection, with ``await monitor.frame_async(name)``. The first query connects.

        Raises BadDatabaseUrl, EmbeddedFailed.
        """
        stack = ExitStack()
        self.timeout = timeout
        self._asyncpg: AsyncpgConnection | None = None
        if isinstance(source, AsyncpgConnection):
            self._asyncpg = source
            self.address = UNKNOWN
        else:
            self.engine, self.address = open_source(source, stack)
        self._close = weakref.finalize(self, stack.close)

    def close(self) -> None:
        """Close the connections, and stop an embedded server that nobody else uses."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def sql(self, name: str, version: int | None = None) -> str:
        """The text of a query's file, for this server or for another major version of PostgreSQL."""
        known(name)
        return sql.sql_file(name, version or self.version()).read_text(encoding="utf-8")

    def version(self) -> int:
        """The server's major version. Raises UnsupportedServer for one that is too old."""
        with self.reading() as connection:
            release, version = connection.execute(text(_FACTS)).one()[2:4]
        return _supported(release, version)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read-only transaction for your own queries, which is cancelled after ``timeout`` seconds.

        The driver's errors become those of chatsys.
        """
        if self._asyncpg is not None:
            raise OperatorError(
                "This monitor has an asyncpg connection, which only its event loop can use.",
                hint="Write `await monitor.frame_async('pulse')`, or give the monitor a URL.",
            )
        try:
            with self.engine.connect() as connection:
                connection.execute(text("SET TRANSACTION READ ONLY"))
                connection.execute(text(f"SET LOCAL statement_timeout = {max(1, round(self.timeout * 1000))}"))
                yield connection
                connection.commit()  # a rollback would be counted, and the monitor would see itself
        except DBAPIError as error:
            raise explained(error, self.address) from error

    def frame(self, name: str, **parameters: int) -> pd.DataFrame:
        """The frame of any query in the catalogue, by its name.

        Raises OperatorError for an unknown query or parameter, and the StoreError that says why the database did not
        answer. A missing extension or privilege is not an error: the frame is empty, and a MonitorWarning says what to
        do.
        """
        return _warned(self.quiet(name, **parameters))

    async def frame_async(self, name: str, **parameters: int) -> pd.DataFrame:
        """The same for a coroutine: over the asyncpg connection if there is one, otherwise in a thread."""
        if self._asyncpg is None:
            return _warned(await asyncio.to_thread(self.quiet, name, **parameters))
        query, look = known(name), _Look(name, checked(name, parameters))
        try:
            look.facts = tuple(await self._asyncpg.fetchrow(_FACTS, timeout=self.timeout))
            statement = sql.written(look.statement(), look.values)
            async with self._asyncpg.transaction(readonly=True):
                rows = await self._asyncpg.fetch(statement, timeout=self.timeout)
        except Exception as error:
            if getattr(error, "sqlstate", None) is None:
                raise
            raise meaning(error, UNKNOWN) from error
        return _warned(look.frame(query, rows, []))

    def arrow(self, name: str, **parameters: int) -> Any:
        """The frame as a pyarrow.Table, for programs that read Arrow. Its metadata says where it came from."""
        import pyarrow

        return pyarrow.Table.from_pandas(self.frame(name, **parameters), preserve_index=False)

    def polars(self, name: str, **parameters: int) -> Any:
        """The frame as a polars.DataFrame. Raises MissingExtra if Polars is not installed."""
        require("polars")
        import polars

        return polars.from_arrow(self.arrow(name, **parameters))

    def dashboard(self) -> Any:
        """The present state of the database and its chat as one matplotlib Figure."""
        from chatsys.analytics.dashboard import dashboard

        return dashboard(self)

    def _repr_html_(self) -> str:
        """What a notebook shows of the monitor: its database and the present state of that."""
        from chatsys.analytics.dashboard import summary

        return summary(self)

    def quiet(self, name: str, **parameters: int) -> pd.DataFrame:
        """The frame without a MonitorWarning, whose text is in ``attrs``.

        Threads need this, because a warning filter applies to the whole process.
        """
        query, look = known(name), _Look(name, checked(name, parameters))
        with self.reading() as connection:
            look.facts = tuple(connection.execute(text(_FACTS)).one())
            rows, state = self._rows(connection, query, look)
        if not state:
            return look.frame(query, rows, [])
        with self.reading() as connection:  # the error has ended the other transaction
            return look.frame(query, [], [remedy(connection, query, state, look.facts[1])])

    def _rows(self, connection: Connection, query: Query, look: _Look) -> tuple[list[Any], str]:
        """The rows and an empty string, or no rows and the SQLSTATE of an error that becomes a note."""
        try:
            return list(connection.execute(text(look.statement()), look.values)), ""
        except DBAPIError as error:
            if not answers_with_note(query, sqlstate(error)):
                raise
            return [], sqlstate(error)

    # -- the guide's three

    def connections(self) -> pd.DataFrame:
        """Client connections to this database: who, from where, in which state and since when."""
        return self.frame("connections")

    def database_size(self) -> pd.DataFrame:
        """The size of this database and of its parts. One row."""
        return self.frame("database_size")

    def table_sizes(self) -> pd.DataFrame:
        """Every table by its size, with its indexes."""
        return self.frame("table_sizes")

    # -- this moment

    def connection_summary(self) -> pd.DataFrame:
        """Connections by state, and their share of max_connections."""
        return self.frame("connection_summary")

    def idle_in_transaction(self) -> pd.DataFrame:
        """Connections that hold a transaction open and do nothing."""
        return self.frame("idle_in_transaction")

    def running_queries(self) -> pd.DataFrame:
        """Statements that run now, longest first."""
        return self.frame("running_queries")

    def blocking(self) -> pd.DataFrame:
        """Who waits for whom."""
        return self.frame("blocking")

    def locks(self) -> pd.DataFrame:
        """Locks by kind, object and mode."""
        return self.frame("locks")

    def wait_events(self) -> pd.DataFrame:
        """What the busy processes wait for."""
        return self.frame("wait_events")

    def pulse(self) -> pd.DataFrame:
        """The database's present state in one row; ``watch`` queries it each time."""
        return self.frame("pulse")

    # -- space, tables and indexes

    def cache_hit(self) -> pd.DataFrame:
        """Shared-buffer hits and reads of each table and its indexes."""
        return self.frame("cache_hit")

    def index_usage(self) -> pd.DataFrame:
        """How often each index is used, and its size."""
        return self.frame("index_usage")

    def unused_indexes(self) -> pd.DataFrame:
        """Indexes that nothing has used and no constraint needs."""
        return self.frame("unused_indexes")

    def seq_scans(self) -> pd.DataFrame:
        """Tables that are read by sequential scans."""
        return self.frame("seq_scans")

    def dead_tuples(self) -> pd.DataFrame:
        """Old row versions that wait for VACUUM."""
        return self.frame("dead_tuples")

    def table_activity(self) -> pd.DataFrame:
        """Rows written and read in each table."""
        return self.frame("table_activity")

    # -- work done

    def throughput(self) -> pd.DataFrame:
        """What this database has done since counting began. One row."""
        return self.frame("throughput")

    def wal(self) -> pd.DataFrame:
        """Write-ahead log since counting began. One row."""
        return self.frame("wal")

    def checkpoints(self) -> pd.DataFrame:
        """Checkpoints since counting began. One row."""
        return self.frame("checkpoints")

    def io(self) -> pd.DataFrame:
        """Reads and writes by kind of process; much is missing before PostgreSQL 16."""
        return self.frame("io")

    def statements(self) -> pd.DataFrame:
        """All statements together. One row; needs pg_stat_statements."""
        return self.frame("statements")

    def slow_queries(self, *, limit: int = 20) -> pd.DataFrame:
        """The statements that cost the most time; needs pg_stat_statements."""
        return self.frame("slow_queries", limit=limit)

    def query_calls(self, *, limit: int = 20) -> pd.DataFrame:
        """The statements that are sent most often; needs pg_stat_statements."""
        return self.frame("query_calls", limit=limit)

    def settings(self) -> pd.DataFrame:
        """Settings that differ from PostgreSQL's defaults."""
        return self.frame("settings")

    # -- the chat

    def chat_totals(self) -> pd.DataFrame:
        """The chat in one row, cheap at any size."""
        return self.frame("chat_totals")

    def active_users(self) -> pd.DataFrame:
        """Users and guests who have a session now."""
        return self.frame("active_users")

    def room_stats(self) -> pd.DataFrame:
        """Every room with its messages, members and active users."""
        return self.frame("room_stats")

    def messages_per_minute(self, *, minutes: int = 60) -> pd.DataFrame:
        """Messages in each of the last ``minutes``, including minutes without messages."""
        return self.frame("messages_per_minute", minutes=minutes)

    def busiest_rooms(self, *, minutes: int = 60, limit: int = 20) -> pd.DataFrame:
        """The rooms with the most messages in the last ``minutes``."""
        return self.frame("busiest_rooms", minutes=minutes, limit=limit)

    def read_lag(self, *, minutes: int = 60, messages: int = 10_000) -> pd.DataFrame:
        """Time from a message to each of its readers, for the newest ``messages`` of the last ``minutes``."""
        return self.frame("read_lag", minutes=minutes, messages=messages)

    def delivery_lag(self, *, minutes: int = 60, messages: int = 10_000) -> pd.DataFrame:
        """Time from a message to each acknowledged delivery, for the newest ``messages`` of the last ``minutes``."""
        return self.frame("delivery_lag", minutes=minutes, messages=messages)

    def lags(self, *, minutes: int = 1, messages: int = 200) -> pd.DataFrame:
        """How long deliveries and readers take, in one row, for the newest ``messages`` of the last ``minutes``."""
        return self.frame("lags", minutes=minutes, messages=messages)

    def growth(self, *, days: int = 30) -> pd.DataFrame:
        """Messages and accounts by UTC day for the last ``days``, with running totals."""
        return self.frame("growth", days=days)

    def retention_candidates(self, *, days: int = 30) -> pd.DataFrame:
        """What a clean-up of messages older than ``days`` would delete, by room."""
        return self.frame("retention_candidates", days=days)

    def sessions(self) -> pd.DataFrame:
        """Every live session, the newest first."""
        return self.frame("sessions")

    def orphans(self) -> pd.DataFrame:
        """What a dead server left behind; empty on a healthy system."""
        return self.frame("orphans")

    # -- change over time

    def snapshot(self) -> Snapshot:
        """Every counter that this role may read, at one moment; see :func:`chatsys.analytics.diff`."""
        taken_at = datetime.now(UTC)
        return Snapshot.of(taken_at, {name: self.quiet(name) for name in SOURCES})

    def watch(self, seconds: float | None = None, every: float = 1.0) -> Watch:
        """A context manager that queries pulse and chat_totals at intervals of ``every`` seconds in its own thread.

        It ends with its block, or after ``seconds``; ``watch.frame()`` is the time series so far.
        """
        return Watch(self.quiet, seconds=seconds, every=every)


class _Look:
    """One query: when it ran, on which server, and the frame that its rows become."""

    facts: tuple[Any, ...]

    def __init__(self, name: str, values: dict[str, int]) -> None:
        self.name, self.values = name, values
        self._started, self._began = datetime.now(UTC), time.perf_counter()

    def statement(self) -> str:
        """The SQL for the server. Raises UnsupportedServer."""
        return sql.statement(self.name, _supported(*self.facts[2:4]))

    def frame(self, query: Query, rows: Sequence[Sequence[Any]], notes: list[str]) -> pd.DataFrame:
        """The rows as a frame with the declared dtypes, whose ``attrs`` say where they came from."""
        database, role, release, version, sees_all, server_started = self.facts
        if "activity" in query.needs and not sees_all and not notes:
            notes = [f"Other users' activity is hidden from {role}: GRANT pg_read_all_stats TO {role};"]
        frame = frame_of(query, rows)
        frame.attrs = {
            "query": self.name,
            "parameters": self.values,
            "sql_file": f"monitoring/{sql.sql_file(self.name, version).name}",
            "database": database,
            "role": role,
            "server": f"PostgreSQL {release}",
            "server_started_at": server_started.astimezone(UTC).isoformat(),
            "taken_at": self._started.isoformat(),
            "took_ms": round((time.perf_counter() - self._began) * 1000, 3),
            "chatsys": __version__,
            "warnings": notes,
        }
        return frame


def _supported(release: str, version: int) -> int:
    if version < sql.OLDEST:
        raise UnsupportedServer(f"PostgreSQL {release} is too old: the monitor needs {sql.OLDEST} or newer.")
    return version


def _warned(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, after issuing its notes as warnings at the line that called the monitor."""
    for note in frame.attrs["warnings"]:
        warnings.warn(f"{frame.attrs['query']}: {note}", MonitorWarning, stacklevel=4)
    return frame


def known(name: str) -> Query:
    """The query of that name. Raises OperatorError, which suggests similar names."""
    try:
        return QUERIES[name]
    except KeyError:
        near = difflib.get_close_matches(name, QUERIES, n=3, cutoff=0.4)
        means = f"Did you mean {' or '.join(near)}? " if near else ""
        raise OperatorError(
            f"There is no monitoring query {name!r}.", hint=f"{means}`chatsys monitor -h` lists them all."
        ) from None


def checked(name: str, given: dict[str, int]) -> dict[str, int]:
    """The parameters of a query with their defaults.

    Raises OperatorError for an unknown parameter, or for a value that is not a positive whole number.
    """
    defaults = sql.defaults(name)
    for key, value in given.items():
        if key not in defaults:
            takes = ", ".join(defaults) or "no parameters"
            raise OperatorError(f"{name} has no parameter {key!r}.", hint=f"It takes {takes}.")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
            raise OperatorError(f"{key}={value!r} is not allowed for {name}.", hint="Give a whole number above 0.")
    return defaults | given
