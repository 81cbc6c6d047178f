"""The store recovers whenever the database does."""

from __future__ import annotations

import asyncio

import asyncpg
import psycopg
import pytest
from asyncpg.prepared_stmt import PreparedStatement
from asyncpg.transaction import Transaction

from chatsys.database.embedded import embedded_server
from chatsys.errors import ConnectionRefused, StatementTimeout, StoreUnavailable
from chatsys.store.options import StoreOptions
from chatsys.store.postgres.opening import pools_to


def end_connections(url: str) -> None:
    """End all of chatsys's connections to the database, as an operator can."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'chatsys' AND datname = current_database()"
        )


@pytest.mark.process
async def test_verbs_fail_while_the_database_is_unavailable_and_then_recover(server_folder, hands):
    with embedded_server(server_folder) as url:
        async with hands.opened(url) as store:
            await store.post_message(hands.new_message(hands.guest()))
            with hands.stopped(server_folder):
                for _ in range(3):
                    with pytest.raises(StoreUnavailable):
                        await store.history("tea", 10)
                    with pytest.raises(StoreUnavailable):
                        await store.post_message(hands.new_message(hands.guest()))
                with pytest.raises(ConnectionRefused) as refused:
                    await store.ping()
                assert refused.value.hint
            assert (await store.post_message(hands.new_message(hands.guest()))).message.seq == 2
            assert len(await store.history("tea", 10)) == 2


async def test_read_succeeds_although_its_idle_connection_was_ended(pg, postgres_url):
    await asyncio.gather(*(pg.rooms() for _ in range(4)))
    end_connections(postgres_url)
    for _ in range(8):
        assert len(await pg.rooms()) == 3


async def test_read_succeeds_although_a_new_connection_was_ended(pg, postgres_url, monkeypatch):
    connect, fails = asyncpg.connect, asyncio.Event()

    async def connect_and_be_ended(*arguments, **options):
        if fails.is_set():
            return await connect(*arguments, **options)
        await fails.wait()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    assert len(await pg.rooms()) == 3
    monkeypatch.setattr(asyncpg, "connect", connect_and_be_ended)
    await asyncio.gather(*(pg.rooms() for _ in range(2)))  # the second starts a connection that it will not need
    end_connections(postgres_url)
    asyncio.get_running_loop().call_later(0.5, fails.set)
    assert len(await pg.rooms()) == 3


async def test_cancelled_read_leaves_its_connection_usable(pg, postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        tasks = [asyncio.create_task(pg.list_users(1)) for _ in range(6)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        assert len(await pg.rooms()) == 3
    assert await asyncio.gather(*(pg.list_users(1) for _ in range(6))) == [[]] * 6


async def test_statement_is_usable_after_a_cancelled_preparation(pg, monkeypatch):
    prepare = asyncpg.Connection.prepare

    async def prepare_and_be_cancelled(self, *arguments, **options):
        await prepare(self, *arguments, **options)
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Connection, "prepare", prepare_and_be_cancelled)
        with pytest.raises(asyncio.CancelledError):
            await pg.list_users(1)
    assert await pg.list_users(1) == []


async def test_more_callers_than_connections_are_served_one_after_another(pg, observed):
    observed.clear()
    results = await asyncio.gather(*(pg.rooms() for _ in range(50)))
    assert all(len(rooms) == 3 for rooms in results)
    assert observed.counts["pool_wait"] >= 46


async def test_slow_statement_is_ended_and_its_connection_is_kept(postgres_url, hands):
    async with hands.opened(postgres_url, statement_timeout=2) as store:
        with psycopg.connect(postgres_url) as connection:
            connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StatementTimeout) as ended:
                await store.list_users(1)
            assert "CHATSYS_STATEMENT_TIMEOUT" in ended.value.hint
        assert await store.list_users(1) == []


async def test_table_change_under_a_running_store_costs_one_error_at_most(pg, postgres_url):
    assert len(await pg.rooms()) == 3
    assert await pg.user_by_name("ann") is None
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ALTER TABLE users ALTER bio TYPE varchar(4000)")
    outcomes = [await asyncio.gather(pg.user_by_name("ann"), return_exceptions=True) for _ in range(6)]
    assert sum(isinstance(outcome, StoreUnavailable) for (outcome,) in outcomes) <= 1
    assert outcomes[-1] == [None]


async def test_driver_that_lost_its_state_costs_one_error_and_no_repeated_write(pg, hands, monkeypatch):
    ann, entry = await hands.account(pg), hands.entry(hands.guest())
    await pg.open_session(entry)
    once = {"fetch": True, "start": True}

    def fails_first(owner: type, name: str) -> None:
        whole = getattr(owner, name)

        async def wrapped(*arguments):
            if once.pop(name, None):
                await whole(*arguments)  # it is done, but the server's answer is lost
                raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
            return await whole(*arguments)

        monkeypatch.setattr(owner, name, wrapped)

    fails_first(PreparedStatement, "fetch")
    fails_first(Transaction, "start")
    with pytest.raises(StoreUnavailable):
        await pg.post_message(hands.new_message(ann))
    await pg.post_message(hands.new_message(ann))
    assert [message.seq for message in await pg.history("tea", 10)] == [1, 2]
    with pytest.raises(StoreUnavailable):
        await pg.delete_user(ann.user_id, hands.now())
    await pg.delete_user(ann.user_id, hands.now())
    once["fetch"] = True
    assert await pg.register_server(entry.server_id, hands.now()) == [], "a lease is renewed again, unnoticed"
    once["fetch"] = True
    assert len(await pg.rooms()) == 4, "a read is done again, unnoticed"


@pytest.mark.process
async def test_slot_of_a_connection_lost_by_the_network_is_freed(password_server):
    """Dropping packets needs root, so this checks the settings. The fault suite really loses connections."""
    pools = pools_to(password_server, StoreOptions())
    link = await pools.connector.connect()
    try:
        idle, unanswered = await link.connection.fetchrow(
            "SELECT current_setting('tcp_keepalives_idle')::int + current_setting('tcp_keepalives_interval')::int"
            " * current_setting('tcp_keepalives_count')::int, current_setting('tcp_user_timeout')"
        )
    finally:
        await link.connection.close()
        await pools.close()
    assert (idle, unanswered) == (11, "11000")
