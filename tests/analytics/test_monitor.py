"""The monitor's statements are true, and it says what it cannot do."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import threading
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import numpy as np
import psycopg
import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from chatsys.analytics import Monitor, MonitorWarning, sql
from chatsys.analytics.catalogue import QUERIES
from chatsys.analytics.formatting import human
from chatsys.analytics.monitor import known
from chatsys.analytics.reference import PAGE, page
from chatsys.database.embedded import embedded_server, wheel_programs
from chatsys.errors import (
    BadDatabaseUrl,
    ConnectionRefused,
    DatabaseMissing,
    EmbeddedFailed,
    HostNotFound,
    OperatorError,
    PermissionDenied,
    StatementTimeout,
    StoreError,
)

ROOT = Path(__file__).parents[2]


def test_three_queries_of_the_guide_come_first() -> None:
    assert list(QUERIES)[:3] == ["connections", "database_size", "table_sizes"]


def test_every_query_has_a_method_a_file_and_equal_defaults() -> None:
    for name in QUERIES:
        method = getattr(Monitor, name)
        assert inspect.getdoc(method)
        given = {key: value.default for key, value in inspect.signature(method).parameters.items() if key != "self"}
        assert given == sql.defaults(name)
    assert {path.name.partition(".")[0] for path in sql.folder().glob("*.sql")} == set(QUERIES)


def test_documentation_matches_the_catalogue() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page(text) == text


def test_every_file_runs_in_psql(url: str, chat: Monitor) -> None:
    version = int(chat.settings().attrs["server"].split()[1].split(".")[0])
    for name in QUERIES:
        done = subprocess.run(
            [wheel_programs() / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", sql.sql_file(name, version), url],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), name


def test_psql_takes_the_parameters(url: str) -> None:
    psql = [wheel_programs() / "psql", "-XAtq", "-v", "days=7", "-f", sql.sql_file("growth", 18), url]
    assert len(subprocess.run(psql, capture_output=True, text=True, check=True).stdout.splitlines()) == 7


def test_each_postgresql_version_gets_its_own_file() -> None:
    def used(name: str) -> list[str]:
        return [sql.sql_file(name, version).name for version in (14, 15, 16, 17, 18, 19)]

    assert used("wal") == ["wal.sql"] * 4 + ["wal.from18.sql"] * 2
    assert used("checkpoints") == ["checkpoints.sql"] * 3 + ["checkpoints.from17.sql"] * 3
    assert used("io") == ["io.sql"] * 2 + ["io.from16.sql"] * 2 + ["io.from18.sql"] * 2


def test_monitor_shows_the_sql_of_a_query(monitor: Monitor) -> None:
    assert "pg_blocking_pids" in monitor.sql("blocking")
    assert "pg_stat_checkpointer" in monitor.sql("checkpoints", version=17)
    with pytest.raises(OperatorError, match="no monitoring query"):
        monitor.sql("nonsense")


def test_chat_figures_match_the_chat(chat: Monitor) -> None:
    totals = chat.chat_totals().iloc[0]
    assert (totals["messages_total"], totals["rooms"], totals["sessions"]) == (100, 3, 3)
    assert (totals["active_users"], totals["active_rooms"], totals["servers"]) == (2, 1, 1)

    rooms = chat.room_stats().set_index("room_name")
    assert rooms["messages"].to_dict() == {"general": 90, "tech": 10, "random": 0}
    assert rooms.loc["general", "active_users"] == 2
    assert rooms["removed_messages"].sum() == 0

    busy = chat.busiest_rooms(minutes=30)
    assert list(busy["room_name"]) == ["general", "tech"]
    assert list(busy["messages"]) == [60, 10]
    assert busy["share_ratio"].sum() == pytest.approx(1)
    assert list(chat.busiest_rooms(minutes=30, limit=1)["messages"]) == [60]

    minutes = chat.messages_per_minute(minutes=30)
    assert (len(minutes), minutes["messages"].sum()) == (30, 70)

    users = chat.active_users().set_index("username")
    assert users["sessions"].to_dict() == {"user1": 2, "Gast": 1}
    assert bool(users.loc["Gast", "is_guest"])

    growth = chat.growth(days=10)
    assert (len(growth), growth["messages"].iloc[-1], growth["users"].iloc[-1]) == (10, 100, 20)
    assert growth["new_messages"].sum() == 70

    old = chat.retention_candidates(days=30)
    assert (list(old["room_name"]), list(old["messages"])) == (["general"], [30])
    assert old["estimated_bytes"].iloc[0] > 0
    assert chat.retention_candidates(days=60).empty


def test_lag_is_measured_from_message_to_each_reader_except_its_author(chat: Monitor) -> None:
    reads = chat.read_lag(minutes=30)
    assert reads["lag_ms"].to_numpy() == pytest.approx(250)
    assert set(reads["seq"] % 2) == {0}
    # 35 even messages of the last minutes, two readers each, minus those that user2 and user3 wrote themselves
    own = sum(1 for n in range(31, 101) if (n if n <= 90 else n - 90) % 2 == 0 and n % 5 in (1, 2))
    assert len(reads) == 2 * 35 - own
    deliveries = chat.delivery_lag(minutes=30)
    # one guest has read all 70, and each read also recorded the delivery
    assert sorted(deliveries["lag_ms"]) == pytest.approx([20] * 70 + [250] * len(reads))
    assert chat.delivery_lag(minutes=30, messages=7)["message_id"].nunique() == 7


def test_orphans_are_sessions_that_a_dead_server_left(chat: Monitor) -> None:
    orphans = chat.orphans()
    assert set(zip(orphans["kind"], orphans["name"].fillna(""), strict=True)) == {
        ("session without server", "user1"),
        ("server past its lease", ""),
        ("online without session", "user2"),
    }
    assert chat.sessions()["is_server_alive"].sum() == 2


def test_sizes_add_up(chat: Monitor) -> None:
    whole = chat.database_size().iloc[0]
    assert whole["size_bytes"] == whole["tables_bytes"] + whole["indexes_bytes"] + whole["system_bytes"]
    tables = chat.table_sizes()
    parts = tables["heap_bytes"] + tables["indexes_bytes"] + tables["toast_and_maps_bytes"]
    assert parts.equals(tables["size_bytes"].rename(None))
    assert (parts > 0).all()


def test_blocking_names_the_blocked_and_the_blocking_session(url: str, monitor: Monitor) -> None:
    with psycopg.connect(url, application_name="holder") as holder:
        holder.execute("UPDATE rooms SET description = 'held' WHERE room_name = 'tech'")
        with psycopg.connect(url, application_name="waiter") as waiter:
            statement = "UPDATE rooms SET description = 'waits' WHERE room_name = 'tech'"
            thread = threading.Thread(target=waiter.execute, args=(statement,))
            thread.start()
            pair = _eventually(monitor.blocking)
            assert pair["blocking_pid"] == holder.info.backend_pid
            assert pair["blocked_pid"] == waiter.info.backend_pid
            assert pair["blocked_query"] == statement
            assert pair["blocking_state"] == "idle in transaction"
            assert pair["waiting_ms"] >= 0
            assert monitor.idle_in_transaction()["pid"].to_list() == [holder.info.backend_pid]
            running = monitor.running_queries().set_index("pid")
            assert running.loc[waiter.info.backend_pid, "blockers"] == 1
            assert (~monitor.locks()["is_granted"]).sum() == 1
            states = monitor.connection_summary().set_index("state")
            assert states.loc["active", "lock_waits"] == 1
            holder.rollback()
            thread.join()
            waiter.rollback()


def _eventually(ask: Any) -> Any:
    while not len(frame := ask()):  # the test's time limit ends an endless wait
        time.sleep(0.01)
    return frame.iloc[0]


def test_statement_statistics_name_the_statement(url: str, chat: Monitor) -> None:
    with psycopg.connect(url) as connection:
        for _ in range(7):
            connection.execute("SELECT count(*) FROM users WHERE bio = 'needle'")
    calls = chat.query_calls(limit=1000)
    needle = calls[calls["query"].str.contains("bio = ")]
    assert needle["calls_total"].to_list() == [7]
    assert needle["rows_per_call"].to_list() == [1]
    assert len(chat.slow_queries(limit=2)) == 2
    assert chat.slow_queries(limit=1000)["time_ratio"].sum() == pytest.approx(1)


def test_unused_indexes_omit_constraints_and_name_foreign_keys(monitor: Monitor) -> None:
    unused = monitor.unused_indexes().set_index("index_name")
    assert "users_pkey" not in unused.index
    assert bool(unused.loc["messages_user_id_idx", "serves_foreign_key"])
    assert not bool(unused.loc["messages_created_at_idx", "serves_foreign_key"])


def test_monitor_works_inside_a_running_event_loop_and_in_threads(monitor: Monitor) -> None:
    async def inside() -> int:
        return len(monitor.room_stats())

    assert asyncio.run(inside()) == 3
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(monitor.room_stats()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [3] * 8


def test_monitor_leaves_an_engine_to_its_caller(postgres_url: str) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(postgres_url))
    with Monitor(engine) as monitor:
        assert len(monitor.room_stats()) == 3
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    engine.dispose()


@pytest.mark.process
def test_embedded_server_is_started_and_stopped(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedFailed, match="There is no database yet"):
        Monitor(f"embedded://{tmp_path / 'pg'}")
    assert list(tmp_path.iterdir()) == []
    with embedded_server(tmp_path / "pg"):
        pass
    with Monitor(f"embedded://{tmp_path / 'pg'}") as monitor:
        assert monitor.database_size()["size_bytes"].iloc[0] > 0
        assert len(monitor.slow_queries()) > 0
        pid = int((tmp_path / "pg" / "data" / "postmaster.pid").read_text().splitlines()[0])
        assert pid > 0
    assert not (tmp_path / "pg" / "data" / "postmaster.pid").exists()


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg", "postgresql+psycopg2"]
)
def test_monitor_accepts_every_spelling_of_a_url(postgres_url: str, scheme: str) -> None:
    url = re.sub("^postgresql", scheme, postgres_url)
    if "+" in scheme:
        url += "&prepared_statement_cache_size=0"  # only SQLAlchemy understands these
    with Monitor(url) as monitor:
        assert len(monitor.room_stats()) == 3
    with Monitor(make_url(url)) as monitor:
        assert len(monitor.room_stats()) == 3


def test_monitor_finds_the_database_of_an_asyncio_engine(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url.replace("postgresql:", "postgresql+asyncpg:"))
    with Monitor(engine) as monitor:
        assert len(monitor.room_stats()) == 3
        assert asyncio.run(monitor.frame_async("room_stats")).equals(monitor.room_stats())
    with pytest.raises(BadDatabaseUrl, match="was made with a creator"):
        Monitor(create_async_engine("postgresql+asyncpg://", async_creator=lambda: None))


def test_monitor_of_a_psycopg_connection_leaves_its_transaction_alone(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DELETE FROM rooms")
        with Monitor(connection) as monitor:
            assert len(monitor.room_stats()) == 3
            assert monitor.connections()["state"].to_list() == ["idle in transaction"]
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        connection.rollback()


async def test_monitor_queries_an_asyncpg_connection_in_its_own_loop(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        monitor = Monitor(connection)
        with Monitor(postgres_url) as other:
            for name in QUERIES:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", MonitorWarning)
                    if name in {"slow_queries", "query_calls", "statements"}:
                        continue  # the extension is not in this database: one caller gets an error, the other a note
                    expected = other.frame(name)
                    found = await monitor.frame_async(name)
                assert (found.dtypes == expected.dtypes).all(), name
                assert found.attrs["database"] == expected.attrs["database"]
        assert len(await monitor.frame_async("growth", days=7)) == 7
        with pytest.raises(OperatorError, match="only its event loop"):
            monitor.pulse()
        await connection.execute("DROP TABLE rooms CASCADE")
        with pytest.raises(StoreError):
            await monitor.frame_async("room_stats")
    finally:
        await connection.close()


def test_monitor_refuses_an_object_that_is_no_database() -> None:
    with pytest.raises(BadDatabaseUrl, match="The monitor cannot use a int"):
        Monitor(7)  # type: ignore[arg-type]


def test_outdated_extension_is_reported_with_its_update(url: str, monitor: Monitor) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE EXTENSION pg_stat_statements VERSION '1.7'")
        for name in ("statements", "slow_queries", "query_calls"):
            with pytest.warns(MonitorWarning, match=r"has version 1\.7.*ALTER EXTENSION pg_stat_statements UPDATE;"):
                assert monitor.frame(name).empty
        admin.execute("ALTER EXTENSION pg_stat_statements UPDATE")
        assert len(monitor.statements()) == 1


def test_extension_outside_the_search_path_is_reported(url: str, monitor: Monitor) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA tools; CREATE EXTENSION pg_stat_statements SCHEMA tools")
    with pytest.warns(MonitorWarning, match=r"is in the schema tools.*SET search_path"):
        assert monitor.statements().empty


def test_tables_of_another_program_are_not_taken_for_a_chat(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("CREATE TABLE messages (id int); CREATE TABLE rooms (id int); CREATE TABLE users (id int)")
    with Monitor(empty_postgres_url) as monitor, pytest.warns(MonitorWarning, match="no chat tables"):
        assert monitor.growth().empty


def test_frame_becomes_markdown(monitor: Monitor) -> None:
    assert monitor.room_stats()[["room_name"]].to_markdown(index=False).splitlines()[0] == "| room_name   |"


def test_misspelled_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(OperatorError) as raised:
        known("slow_querys")
    assert raised.value.hint.startswith("Did you mean slow_queries")
    assert len(raised.value.hint) < 150


@pytest.mark.parametrize(
    ("value", "column", "shown"),
    [
        (np.int64(17_692_351), "size_bytes", "16.9 MiB"),
        (np.float64(0.5), "hit_ratio", "50.0 %"),
        (np.bool_(True), "is_due", "yes"),
        (np.float64("nan"), "lag_ms", "-"),
    ],
)
def test_numpy_number_is_shown_like_any_other(value: Any, column: str, shown: str) -> None:
    assert human(value, column) == shown


def test_monitor_writes_nothing_and_rolls_nothing_back(chat: Monitor, url: str) -> None:
    with pytest.raises(StoreError, match="read-only"), chat.reading() as connection:
        connection.exec_driver_sql("DELETE FROM messages")
    before = chat.throughput()["rollbacks_total"].iloc[0]
    for _ in range(20):
        chat.room_stats()
    chat.close()
    with Monitor(url) as later:
        rolled_back = later.throughput()["rollbacks_total"].iloc[0] - before
    assert rolled_back < 10  # the statements of connecting, and the one refused above


@pytest.mark.process
@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("memory://", BadDatabaseUrl),
        ("mysql://localhost/chatdb", BadDatabaseUrl),
        ("chatdb", BadDatabaseUrl),
        ("postgresql://127.0.0.1:1/chatdb", ConnectionRefused),
        ("postgresql://no-such-host.invalid/chatdb", HostNotFound),
    ],
)
def test_unusable_url_is_explained(url: str, error: type[StoreError]) -> None:
    with pytest.raises(error) as raised, Monitor(url) as monitor:
        monitor.pulse()
    assert raised.value.hint


def test_missing_database_is_explained(postgres_url: str) -> None:
    with (
        pytest.raises(DatabaseMissing, match="does not exist"),
        Monitor(postgres_url.replace("scratch_", "x")) as monitor,
    ):
        monitor.pulse()


def test_slow_query_is_cancelled(chat: Monitor) -> None:
    chat.timeout = 0.001
    with pytest.raises(StatementTimeout) as raised, chat.reading() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(5)")
    assert "timeout" in raised.value.hint


@pytest.mark.parametrize("bad", [{"days": 0}, {"days": -1}, {"days": "7"}, {"days": True}, {"weeks": 1}])
def test_bad_parameter_is_refused(monitor: Monitor, bad: dict[str, object]) -> None:
    with pytest.raises(OperatorError):
        monitor.frame("growth", **bad)


def test_database_that_refuses_the_role_is_explained(restricted_url: str, url: str) -> None:
    name = urlsplit(url).path.removeprefix("/")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    with pytest.raises(PermissionDenied), Monitor(restricted_url) as monitor:
        monitor.pulse()


def test_monitor_excludes_its_own_activity(url: str, monitor: Monitor, writers: Any) -> None:
    assert monitor.connections().empty
    assert monitor.running_queries().empty
    assert monitor.pulse()["connections"].iloc[0] == 0
    with writers(url, 1) as stored:
        while not stored():
            time.sleep(0.01)
        assert monitor.pulse()["connections"].iloc[0] == 1
