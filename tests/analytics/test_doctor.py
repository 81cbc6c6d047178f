"""The doctor finds each planted problem on the oldest and the newest PostgreSQL, and reports none in a healthy one."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chatsys.analytics import Monitor, sql
from chatsys.analytics.doctor import LIMITS, RULES, Diagnosis, examine
from chatsys.database.embedded import embedded_server, wheel_programs
from chatsys.store.schema import expected_version
from tests.analytics.conftest import as_role
from tests.conftest import Chosen, ScratchServer, system_programs
from tests.db.conftest import chatsys

SETTINGS = {
    "max_connections": "30",
    "max_prepared_transactions": "2",
    "autovacuum_freeze_max_age": "100000",
    "shared_buffers": "128MB",
    "shared_preload_libraries": "pg_stat_statements",
    "autovacuum_naptime": "3600",
}
TABLE = "CREATE TABLE t (n int PRIMARY KEY, m int); INSERT INTO t SELECT n, n FROM generate_series(1, 3000) n;"


@pytest.fixture(scope="module", params=[pytest.param(version, marks=pytest.mark.database) for version in ("18", "15")])
def patients(request: pytest.FixtureRequest, shared_folder: Path, chosen: Chosen) -> Iterator[ScratchServer]:
    """A server for this module alone, with the settings of a real server."""
    folder = shared_folder / f"patients-{request.param}-{time.monotonic_ns()}"
    if request.param == "15":
        chosen = {"programs": system_programs(), "locale": ("--locale=C.UTF-8",)}
    with embedded_server(folder, **chosen) as url:
        run(url, *(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in SETTINGS.items()))
    with embedded_server(folder, **chosen) as url:
        yield ScratchServer(url)


CLEAN = (
    "DROP TABLE IF EXISTS t, child, wal, written CASCADE; DELETE FROM active_sessions; DELETE FROM chat_servers;"
    "DELETE FROM messages; UPDATE rooms SET last_seq = 0, removed_count = 0, read_count = 0;"
    f"UPDATE alembic_version SET version_num = '{expected_version()}';"
    "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT pg_stat_statements_reset()"
)


@pytest.fixture(scope="module")
def chat_url(patients: ScratchServer) -> Iterator[str]:
    """The chat's database for the whole module. Making one for each test would take most of the time."""
    with patients.database() as url:
        yield url


@pytest.fixture
def url(chat_url: str) -> Iterator[str]:
    """The URL of the chat's database, which is healthy."""
    run(chat_url, CLEAN)
    yield chat_url
    run(chat_url, CLEAN)


def run(url: str, *statements: str) -> None:
    """Run each statement in its own transaction; return when the statistics include it."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def diagnosis(url: str, limits: Mapping[str, float]) -> Diagnosis:
    with Monitor(url) as monitor:
        return examine(monitor, limits)


Plant = Callable[[str], AbstractContextManager[None]]


def planted(*statements: str) -> Plant:
    """Plant a problem that disappears with its database."""

    @contextmanager
    def plant(url: str) -> Iterator[None]:
        run(url, *statements)
        yield

    return plant


def configured(name: str, value: str) -> Plant:
    """Change a setting of the whole server, and restore it at the end."""

    @contextmanager
    def plant(url: str) -> Iterator[None]:
        run(url, f"ALTER SYSTEM SET {name} = '{value}'", "SELECT pg_reload_conf()")
        try:
            yield
        finally:
            undone = (
                f"ALTER SYSTEM SET {name} = '{SETTINGS[name]}'" if name in SETTINGS else f"ALTER SYSTEM RESET {name}"
            )
            run(url, undone, "SELECT pg_reload_conf()")

    return plant


@contextmanager
def many_connections(url: str) -> Iterator[None]:
    with ExitStack() as opened:
        for _ in range(23):
            opened.enter_context(psycopg.connect(url, application_name="the pool"))
        yield


@contextmanager
def a_queue(url: str) -> Iterator[None]:
    with psycopg.connect(url, application_name="holder") as holder, psycopg.connect(url) as waiter:
        holder.execute("LOCK TABLE rooms")
        thread = threading.Thread(target=waiter.execute, args=("SELECT count(*) FROM rooms",))
        thread.start()
        try:
            yield
        finally:
            holder.rollback()
            thread.join()


@contextmanager
def an_open_transaction(url: str) -> Iterator[None]:
    with psycopg.connect(url, application_name="forgetful") as connection:
        connection.execute("SELECT 1")
        yield


@contextmanager
def a_prepared_transaction(url: str) -> Iterator[None]:
    run(url, "BEGIN; CREATE TABLE half (n int); PREPARE TRANSACTION 'left behind'")
    try:
        yield
    finally:
        run(url, "ROLLBACK PREPARED 'left behind'")


@contextmanager
def a_slot(url: str) -> Iterator[None]:
    run(url, "SELECT pg_create_physical_replication_slot('nobody', true)", "CREATE TABLE wal AS SELECT 1")
    try:
        yield
    finally:
        run(url, "SELECT pg_drop_replication_slot('nobody')")


@contextmanager
def a_receiver(url: str) -> Iterator[None]:
    """Receive the WAL as a standby does."""
    with tempfile.TemporaryDirectory() as folder:
        command = [wheel_programs() / "pg_receivewal", "-d", url, "-D", folder, "--no-loop"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as receiver:
            try:
                yield
            finally:
                receiver.kill()


@contextmanager
def much_wal(url: str) -> Iterator[None]:
    with configured("max_wal_size", "32MB")(url):
        forget_checkpoints(url)
        run(url, *["SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))"] * 40)
        yield


def forget_checkpoints(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for target in ("checkpointer" if connection.info.server_version >= 170_000 else "bgwriter", "wal"):
            connection.execute("SELECT pg_stat_reset_shared(%s)", (target,))


MANY = [f"SELECT sum(m) FROM t WHERE m > {n}" for n in range(5)]
SESSION = (
    "INSERT INTO chat_servers VALUES ('00000000-0000-0000-0000-000000000001', now(), now() - interval '1 hour');"
    "INSERT INTO active_sessions (guest_id, guest_name, socket_id, room_id, server_id) SELECT 'g', 'G', 's', room_id, "
    "'00000000-0000-0000-0000-000000000001' FROM rooms WHERE room_name = 'general'"
)
OLD = (
    "INSERT INTO messages (guest_id, guest_name, room_id, message_text, created_at, seq) SELECT 'g', 'G', room_id, 'x',"
    " now() - interval '2 years', n FROM rooms, generate_series(1, 5) n WHERE room_name = 'tech'"
)
UNVACUUMED = TABLE.replace("(n int PRIMARY KEY, m int)", "(n int, m int) WITH (autovacuum_enabled = off)")

PLANTS: dict[str, tuple[Plant, dict[str, float], str]] = {
    "durability": (configured("fsync", "off"), {}, "fsync is off"),
    "asynchronous_commit": (configured("synchronous_commit", "off"), {}, "synchronous_commit is off"),
    "wraparound": (planted("SELECT 1"), {"wraparound_factor": 0.0001}, "autovacuum should freeze it at 100,000"),
    "connections": (many_connections, {}, "most of them by the pool"),
    "blocked": (a_queue, {"blocked_seconds": 0.05}, "for a lock of pid"),
    "long_transactions": (an_open_transaction, {"transaction_seconds": 0}, "forgetful (local) has had a transaction"),
    "prepared_transactions": (a_prepared_transaction, {"transaction_seconds": 0}, "prepared by chatsys"),
    "replication_slots": (a_slot, {"slot_bytes": 0}, "nobody reads this physical slot"),
    "replication_lag": (a_receiver, {"lag_bytes": -1}, "behind (state "),
    "work_memory": (configured("work_mem", "1TB"), {}, "1TB for each sort of up to 30 connections"),
    "autovacuum_off": (configured("autovacuum", "off"), {}, "autovacuum is off"),
    "bloat": (
        planted(TABLE, "DELETE FROM t WHERE n % 10 < 8", "VACUUM (ANALYZE) t"),
        {"bloat_bytes": 20_000, "bloat_ratio": 0.5},
        "hold no rows (estimated)",
    ),
    "dead_rows": (
        planted(UNVACUUMED, "DELETE FROM t WHERE n % 2 = 0"), {"dead_rows": 1_000}, "autovacuum is switched off"
    ),
    "missing_indexes": (planted(TABLE, *MANY), {"scans": 5, "scanned_rows": 1_000}, "scans from end to end read"),
    "unindexed_foreign_keys": (
        planted(TABLE, "CREATE TABLE child (n int REFERENCES t)", "INSERT INTO child SELECT n FROM t", "ANALYZE child"),
        {"scanned_rows": 1_000},
        "3,000 rows (estimated) are read for each deleted",
    ),
    "slow_statements": (
        planted("SELECT pg_stat_statements_reset()", *["SELECT pg_sleep(0.1)"] * 2),
        {"slow_calls": 2, "slow_ms": 20, "slow_share": 0.0},
        "2 executions of",
    ),
    "buffers": (planted("SELECT 1"), {"large_database_bytes": 1}, "it is 128 MB; the databases hold"),
    "cache": (planted(TABLE), {"read_blocks": 1, "hit_ratio": 0.999999}, "block reads were found in shared buffers"),
    "checkpoints": (much_wal, {"requested_checkpoints": 1}, "were requested before checkpoint_timeout, by "),
    "stale_statistics": (planted(UNVACUUMED), {"scanned_rows": 1_000}, "3,000 rows, and never analyzed"),
    "invalid_indexes": (
        planted(TABLE, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_pkey'::regclass"),
        {},
        "marked invalid",
    ),
    "duplicate_indexes": (planted(TABLE, "CREATE INDEX a ON t (m); CREATE INDEX b ON t (m)"), {}, "the same as b on t"),
    "unused_indexes": (
        planted(TABLE, "CREATE INDEX a ON t (m)"), {"unused_seconds": 0, "index_bytes": 1}, "and no scan since"
    ),
    "statement_statistics": (planted("DROP EXTENSION pg_stat_statements"), {}, "the extension is not in this database"),
    "pending_restart": (configured("max_connections", "40"), {}, "differs from the running value 30"),
    "schema_version": (planted("UPDATE alembic_version SET version_num = '0001'"), {}, "the schema is at 0001"),
    "large_rooms": (
        planted("UPDATE rooms SET last_seq = 2000000 WHERE room_name = 'tech'"), {}, "0 sessions and 2,000,000 messages"
    ),
    "orphans": (planted(SESSION), {}, "1 sessions belong to no living server"),
    "retention": (planted(OLD), {"old_messages": 5}, "at least 5 messages are older than a year"),
}  # fmt: skip


def test_each_rule_has_a_planted_problem_a_file_and_known_limits() -> None:
    codes = [rule.code for rule in RULES]
    assert sorted(PLANTS) == sorted(codes)
    assert {path.name.partition(".")[0] for path in sql.folder(sql.DOCTOR).glob("*.sql")} == set(codes)
    assert all(limits.keys() <= LIMITS.keys() for _, limits, _ in PLANTS.values())
    assert all(rule.why.endswith(".") and rule.source for rule in RULES)


@pytest.mark.parametrize("code", PLANTS)
def test_doctor_finds_each_planted_problem(url: str, code: str) -> None:
    plant, limits, evidence = PLANTS[code]
    with plant(url):
        while True:  # until the server gives the setting to new connections; the test's time limit ends an endless wait
            found = [each for each in diagnosis(url, limits).findings if each.rule.code == code]
            if found:
                break
            time.sleep(0.05)
    assert evidence in " ".join(each.evidence for each in found)
    assert all(each.command for each in found)


WIDE = """
CREATE TABLE t (n int PRIMARY KEY, word text, seen timestamptz, flag bool, amount numeric, long text);
INSERT INTO t
SELECT n, CASE WHEN n % 3 = 0 THEN repeat('x', n % 40) END, now(), n % 2 = 0, n * 1.5, n || repeat('y', n % 200)
FROM generate_series(1, 20000) n;
CREATE INDEX t_word ON t (word, n);
CREATE INDEX t_upper ON t (upper(long));
"""


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_bloat_estimate_is_close_to_an_exact_measurement(url: str, kept: int) -> None:
    run(url, "CREATE EXTENSION IF NOT EXISTS pgstattuple", WIDE, f"DELETE FROM t WHERE n % {kept} > 0")
    run(url, "VACUUM (ANALYZE) t")
    with psycopg.connect(url) as connection:
        shown = connection.execute(
            "SELECT 't', table_len, free_space FROM pgstattuple('t') UNION ALL "
            "SELECT i, index_size, index_size * (1 - avg_leaf_density / 90) "
            "FROM unnest(ARRAY['t_pkey', 't_word', 't_upper']) i, pgstatindex(i)"
        ).fetchall()
    limits = {"bloat_bytes": -1e15, "bloat_ratio": -1e6}
    evidence = {each.object: each.evidence for each in diagnosis(url, limits).findings if each.rule.code == "bloat"}
    for name, size, free in shown:
        found = re.match(r"about (-?\d+) (bytes|kB) of its", evidence[name])
        assert found is not None
        wasted = int(found[1]) * (1024 if found[2] == "kB" else 1)
        assert wasted == pytest.approx(float(free), abs=0.15 * size), name


def test_doctor_reports_nothing_for_a_healthy_database(url: str, patients: ScratchServer) -> None:
    deadline = time.monotonic() + 60
    while not (found := diagnosis(url, {})).is_well and time.monotonic() < deadline:
        time.sleep(0.05)  # a setting that an earlier test restored may not have arrived yet
    assert found.findings == []
    assert found.skipped == {}
    assert found.applied == len(RULES)
    done = chatsys("doctor", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert done.stdout.endswith(f": {len(RULES)} rules, no findings.\n")
    with patients.database("template0") as other:
        run(other, "CREATE EXTENSION pg_stat_statements")
        without = diagnosis(other, {})
    assert without.findings == []
    assert without.applied == sum(not rule.needs_chat for rule in RULES)


def test_doctor_counts_only_checkpoints_that_wal_may_have_forced(url: str) -> None:
    forget_checkpoints(url)
    run(url, *["CHECKPOINT"] * 12)
    assert [each.rule.code for each in diagnosis(url, {}).findings] == []


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_doctor_lists_the_worst_finding_first_with_a_remedy(url: str, columns: str) -> None:
    run(url, "DROP EXTENSION pg_stat_statements", "UPDATE alembic_version SET version_num = '0001'")
    done = chatsys("doctor", url, COLUMNS=columns)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "Outage ahead"
    assert lines[1] == "1. alembic_version  [schema_version]"
    assert "   Do:   chatsys db backup before.dump && chatsys db migrate" in lines
    assert "To take care of" in lines
    assert "   Do:   CREATE EXTENSION pg_stat_statements;" in lines
    assert " rules, 2 findings; skipped: slow_statements." in lines[-1]
    objects = [json.loads(line) for line in chatsys("doctor", url, "--format", "json").stdout.splitlines()]
    assert [each["rule"] for each in objects] == ["schema_version", "statement_statistics"]


def test_doctor_does_not_wait_behind_a_lock(url: str) -> None:
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE rooms")
        assert "large_rooms" in diagnosis(url, {}).skipped  # on a slow machine other rules may time out too


def test_doctor_continues_after_a_rule_that_takes_too_long(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = sql.statement

    def slow(code: str, *others: Any) -> str:
        return "SELECT pg_sleep(60), '', ''" if code == "bloat" else original(code, *others)

    monkeypatch.setattr(sql, "statement", slow)
    with Monitor(url, timeout=5) as monitor:
        found = examine(monitor)
    assert "statement timeout" in found.skipped["bloat"]
    assert found.applied == len(RULES)


def test_doctor_reports_the_rules_that_its_role_may_not_check(url: str) -> None:
    run(url, "CREATE ROLE newcomer LOGIN")
    try:
        found = diagnosis(as_role(url, "newcomer"), {})
    finally:
        run(url, "DROP ROLE newcomer")
    assert [each.rule.code for each in found.findings] == ["rights"]
    assert found.findings[0].command == "GRANT pg_monitor TO newcomer;"
    assert "orphans" in found.skipped


@pytest.mark.process
def test_doctor_names_the_address_of_a_database_that_does_not_answer() -> None:
    done = chatsys("doctor", "postgresql://ann@127.0.0.1:9/chat")
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
