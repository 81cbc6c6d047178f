"""Which servers are alive: those that hold their lock, or whose lease has not run out."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import psycopg

from chatsys.store.embedded import embedded_server

A_SERVER = """
import asyncio, sys
from datetime import UTC, datetime
from chatsys.model.values import NewSession, Participant
from chatsys.store.opening import open_store

async def main(url, server_id, session_id):
    async with open_store(url) as store:
        now = datetime.now(UTC)
        await store.register_server(server_id, now)
        who = Participant(user_id="guest-1", username="gus", display_name="gus", avatar="", guest=True)
        await store.open_session(NewSession(
            session_id=session_id, socket_id="there", room="tea", who=who, at=now, server_id=server_id))
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def until_lock_is_free(url: str, server_id: str) -> None:
    """PostgreSQL notices that a process has gone; wait for that, not for a time."""
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            taken = connection.execute(
                "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (server_id,)
            ).fetchone()
            if taken == (True,):
                return
            await asyncio.sleep(0.02)


async def test_the_sessions_of_a_killed_server_end_at_the_next_heartbeat_of_another(pg, postgres_url, hands):
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
    await until_lock_is_free(postgres_url, dead)
    moment = hands.now()
    (ended,) = await pg.register_server(mine, moment)
    assert (ended.session.session_id, ended.last, ended.at) == (session_id, True, moment)
    assert await pg.sessions("tea") == []
    assert await pg.register_server(mine, hands.now()) == []


async def test_a_lease_that_ran_out_ends_the_sessions_of_a_server_that_still_holds_its_lock(pg, postgres_url, hands):
    other_id, mine = hands.new_id(), hands.new_id()
    async with hands.opened(postgres_url) as hung:
        await hung.register_server(other_id, hands.now())
        session = (await hung.open_session(hands.entry(hands.guest(), server_id=other_id))).session
        assert await pg.register_server(mine, hands.now()) == []
        with psycopg.connect(postgres_url) as connection:
            connection.execute(
                "UPDATE chat_servers SET lease_until = now() - interval '1 second' WHERE server_id = %s", (other_id,)
            )
        (ended,) = await pg.register_server(mine, hands.now())
        assert ended.session.session_id == session.session_id


async def test_a_server_that_was_taken_for_dead_comes_back_with_its_next_heartbeat(pg, postgres_url, hands):
    other_id, mine = hands.new_id(), hands.new_id()
    async with hands.opened(postgres_url) as other:
        await other.register_server(other_id, hands.now())
        with psycopg.connect(postgres_url) as connection:
            connection.execute("UPDATE chat_servers SET lease_until = now() - interval '1 second'")
        await pg.register_server(mine, hands.now())
        session = (await other.open_session(hands.entry(hands.guest(), server_id=other_id))).session
        await other.register_server(other_id, hands.now())
        assert await pg.register_server(mine, hands.now()) == []
        assert await pg.sessions("tea") == [session]


async def test_two_servers_that_find_the_same_dead_one_end_each_session_once(pg, postgres_url, hands):
    dead = hands.new_id()
    opened = [(await pg.open_session(hands.entry(hands.guest(f"g{n}"), server_id=dead))).session for n in range(10)]
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE chat_servers SET lease_until = now() - interval '1 second'")
    async with hands.opened(postgres_url) as other:
        found = await asyncio.gather(
            pg.register_server(hands.new_id(), hands.now()), other.register_server(hands.new_id(), hands.now())
        )
    ended = [each.session.session_id for part in found for each in part]
    assert sorted(ended) == sorted(session.session_id for session in opened)


async def test_a_restart_of_postgresql_makes_nobody_dead(server_folder, hands):
    with embedded_server(server_folder) as url:
        async with hands.opened(url) as one, hands.opened(url) as two:
            ids = [hands.new_id(), hands.new_id()]
            await one.register_server(ids[0], hands.now())
            await two.register_server(ids[1], hands.now())
            session = (await two.open_session(hands.entry(hands.guest(), server_id=ids[1]))).session
            hands.restart(server_folder)
            assert await one.register_server(ids[0], hands.now()) == []
            assert await one.sessions("tea") == [session]
