"""Which servers are alive: those whose process runs; on other machines, those that renew a lease or hold a lock."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from chatsys.database.embedded import embedded_server
from chatsys.store.postgres import leases
from chatsys.store.postgres import store as store_module
from chatsys.store.postgres.processes import this_process

LEASE = 8.0

A_SERVER = """
import asyncio, sys
from datetime import UTC, datetime
from chatsys.model.values import NewSession, Participant
from chatsys.database.opening import open_prepared_store

async def main(url, server_id, session_id):
    async with open_prepared_store(url) as store:
        now = datetime.now(UTC)
        await store.register_server(server_id, now)
        who = Participant(user_id="guest-1", username="gus", display_name="gus", avatar="", guest=True)
        await store.open_session(NewSession(
            session_id=session_id, socket_id="there", room="tea", who=who, at=now, server_id=server_id))
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


class Elsewhere:
    """Stores on machines that know nothing about each other's processes. The test advances the time."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    async def watch(self, store: Any, server_id: str, hands: Any, leases: float = 1.0) -> list[Any]:
        """Send a server's heartbeats for this many leases; return the sessions that it ended."""
        ended = []
        for _ in range(round(leases * 4)):
            self.time += LEASE / 4
            ended += await store.register_server(server_id, hands.now())
        return ended


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    clock = Elsewhere()
    made = functools.partial(leases.Leases, clock=clock, is_running=lambda process: None)
    monkeypatch.setattr(store_module, "Leases", made)
    return clock


def holders(url: str, server_id: str) -> list[int]:
    """Return the backends that hold a server's lock."""
    query = """
        SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 0)
    """
    with psycopg.connect(url, autocommit=True) as connection:
        return [row[0] for row in connection.execute(query, (server_id,))]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.02)


async def test_sessions_of_a_killed_server_end_at_the_next_heartbeat(
    pg, postgres_url, hands, caplog: pytest.LogCaptureFixture
):
    dead, mine, session_id = (hands.new_id() for _ in range(3))
    assert await pg.register_server(mine, hands.now()) == []
    child = subprocess.Popen(
        [sys.executable, "-c", A_SERVER, postgres_url, dead, session_id], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert await pg.register_server(mine, hands.now()) == [], "it is alive"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    moment = hands.now()
    with caplog.at_level(logging.WARNING):
        (ended,) = await pg.register_server(mine, moment)
    assert (ended.session.session_id, ended.last, ended.at) == (session_id, True, moment)
    assert await pg.sessions("tea") == []
    assert await pg.register_server(mine, hands.now()) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"Server {dead} is dead (its process is gone); 1 sessions of dead servers ended"
    ]


async def test_silent_server_elsewhere_is_dead_only_after_a_lease(postgres_url, hands, elsewhere):
    other_id, mine = hands.new_id(), hands.new_id()
    async with hands.opened(postgres_url, lease=LEASE) as store:
        async with hands.opened(postgres_url, lease=LEASE) as other:
            await other.register_server(other_id, hands.now())
            await until(lambda: len(holders(postgres_url, other_id)) == 1)
            session = (await other.open_session(hands.entry(hands.guest(), server_id=other_id))).session
            assert await elsewhere.watch(store, mine, hands, 5) == [], "it holds its lock"
        assert await elsewhere.watch(store, hands.new_id(), hands, 0.25) != []
        assert await store.sessions("tea") == []
        assert session.room == "tea"


async def test_server_that_renews_its_lease_is_alive_without_a_lock(postgres_url, hands, elsewhere):
    ids = [hands.new_id(), hands.new_id()]
    bouncer = f"{postgres_url}&pgbouncer=true"
    async with hands.opened(bouncer, lease=LEASE) as one, hands.opened(bouncer, lease=LEASE) as two:
        session = (await two.open_session(hands.entry(hands.guest(), server_id=ids[1]))).session
        for _ in range(12):
            assert await elsewhere.watch(one, ids[0], hands, 0.25) == []
            await two.register_server(ids[1], hands.now())
        assert [each.session.session_id for each in await elsewhere.watch(one, ids[0], hands)] == [session.session_id]


async def test_lock_whose_connection_ends_is_retaken_at_once(pg, postgres_url, hands):
    mine = hands.new_id()
    await pg.register_server(mine, hands.now())
    await until(lambda: len(holders(postgres_url, mine)) == 1)
    (first,) = holders(postgres_url, mine)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", (first,))
    await until(lambda: bool(set(holders(postgres_url, mine)) - {first}))


async def test_lock_outlives_idle_session_timeout(postgres_url, hands):
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {admin.info.dbname} SET idle_session_timeout = '200ms'")
    idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chatsys' AND datname = current_database()"
    async with hands.opened(postgres_url) as store:
        mine = hands.new_id()
        await store.register_server(mine, hands.now())
        await until(lambda: len(holders(postgres_url, mine)) == 1)
        before = holders(postgres_url, mine)
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute("SET idle_session_timeout = 0")
            await until(lambda: admin.execute(idle).fetchone() == (1,))
        assert holders(postgres_url, mine) == before


async def test_retired_server_releases_its_lock(pg, postgres_url, hands):
    mine, other = hands.new_id(), hands.new_id()
    await pg.register_server(mine, hands.now())
    await pg.register_server(other, hands.now())
    await until(lambda: len(holders(postgres_url, mine)) == 1)
    await pg.retire_server(mine, hands.now())
    await until(lambda: not holders(postgres_url, mine))
    await until(lambda: len(holders(postgres_url, other)) == 1)


async def test_server_taken_for_dead_returns_with_its_next_heartbeat(postgres_url, hands, elsewhere):
    other_id, mine = hands.new_id(), hands.new_id()
    bouncer = f"{postgres_url}&pgbouncer=true"
    async with hands.opened(bouncer, lease=LEASE) as store, hands.opened(bouncer, lease=LEASE) as other:
        await other.register_server(other_id, hands.now())
        await elsewhere.watch(store, mine, hands, 2)
        session = (await other.open_session(hands.entry(hands.guest(), server_id=other_id))).session
        await other.register_server(other_id, hands.now())
        assert await elsewhere.watch(store, mine, hands, 0.25) == []
        assert await store.sessions("tea") == [session]


async def test_two_servers_that_find_a_dead_one_end_each_session_once(
    postgres_url, hands, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(leases, "PIECE", 3)
    dead = hands.new_id()
    async with hands.opened(postgres_url) as one, hands.opened(postgres_url) as other:
        opened = [(await one.open_session(hands.entry(hands.guest(f"g{n}"), server_id=dead))).session for n in range(9)]
        with psycopg.connect(postgres_url) as connection:
            name = " ".join([*(this_process() or "").split(" ")[:3], "1"])
            connection.execute("UPDATE chat_servers SET process = %s", (name,))
        found = await asyncio.gather(
            one.register_server(hands.new_id(), hands.now()), other.register_server(hands.new_id(), hands.now())
        )
    ended = [each.session.session_id for part in found for each in part]
    assert sorted(ended) == sorted(session.session_id for session in opened)


@pytest.mark.process
async def test_restart_of_postgresql_makes_no_server_dead(server_folder, hands, elsewhere):
    with embedded_server(server_folder) as url:
        async with hands.opened(url, lease=LEASE) as one, hands.opened(url, lease=LEASE) as two:
            ids = [hands.new_id(), hands.new_id()]
            await elsewhere.watch(one, ids[0], hands)
            await two.register_server(ids[1], hands.now())
            session = (await two.open_session(hands.entry(hands.guest(), server_id=ids[1]))).session
            hands.restart(server_folder)
            elsewhere.time += 3 * LEASE
            assert await one.register_server(ids[0], hands.now()) == []
            await until(lambda: len(holders(url, ids[1])) == 1)
            assert await elsewhere.watch(one, ids[0], hands, 2) == []
            assert await one.sessions("tea") == [session]
