"""Every wait for the database has a limit, whatever the database and the network do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest

from chatsys.errors import StoreUnavailable
from chatsys.store.options import shares
from tests.proxies import proxied

LIMITS = {"statement_timeout": 0.4, "connect_timeout": 0.6}
SLACK = 2.5
"""Seconds, far above the limits here and far below an unlimited wait."""


async def refused(verb: Coroutine[Any, Any, Any]) -> float:
    """Return how long it took until the verb was refused."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await verb
    return time.monotonic() - started


async def eventually(verb: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Return how long it took until the verb worked."""
    started = time.monotonic()
    while True:
        try:
            await verb()
        except StoreUnavailable:
            continue
        return time.monotonic() - started


async def test_verbs_on_a_silent_database_are_refused_in_time_and_recover(postgres_url, hands, caplog):
    async with proxied(postgres_url) as (proxy, url), hands.opened(url, **LIMITS) as store:
        await store.post_message(hands.new_message(hands.guest()))
        await asyncio.gather(*(store.rooms() for _ in range(4)))
        caplog.set_level(logging.WARNING, "chatsys.store")
        proxy.hush(new=True)
        verbs = [store.post_message(hands.new_message(hands.guest())) for _ in range(50)]
        verbs += [store.history("tea", 100), store.open_session(hands.entry(hands.guest())), store.ping()]
        assert max(await asyncio.gather(*map(refused, verbs))) < SLACK
        late = [refused(store.post_message(hands.new_message(hands.guest()))) for _ in range(5)]
        assert max(await asyncio.gather(*late)) < SLACK, "no connection is left, and none can be made"
        proxy.heal()
        worked = [eventually(verb) for verb in (store.rooms, store.ping)]
        worked.append(eventually(lambda: store.post_message(hands.new_message(hands.guest()))))
        assert max(await asyncio.gather(*worked)) < SLACK
        assert [record.levelname for record in caplog.records] == ["ERROR"], "an outage begins with one line"
        await asyncio.sleep(2.1)  # the quiet time after which the outage is over
        await asyncio.gather(store.rooms(), store.rooms())
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        assert "works again" in caplog.messages[1]


async def test_one_missed_deadline_reveals_all_hanging_idle_connections(postgres_url, hands):
    async with proxied(postgres_url) as (proxy, url), hands.opened(url, **LIMITS) as store:
        await asyncio.gather(*(store.rooms() for _ in range(20)))
        proxy.hush()
        await refused(store.rooms())
        assert await eventually(store.rooms) < SLACK
        for _ in range(20):
            assert len(await store.rooms()) == 3


async def test_read_is_repeated_when_its_connection_is_cut(postgres_url, hands):
    async with proxied(postgres_url) as (proxy, url), hands.opened(url) as store:
        await asyncio.gather(*(store.rooms() for _ in range(4)))
        while any(pool._connecting for pool in store._pools.members):  # reset only connections that work
            await asyncio.sleep(0.01)
        proxy.reset()
        assert len(await store.rooms()) == 3


async def test_waiting_reads_delay_neither_sends_nor_housekeeping(pg, postgres_url, hands):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("LOCK TABLE profiles_version IN ACCESS EXCLUSIVE MODE")
        reads = [asyncio.create_task(pg.history("tea", 100)) for _ in range(60)]
        await asyncio.sleep(0)
        async with asyncio.timeout(SLACK):
            await pg.ping()
            await pg.post_message(hands.new_message(hands.guest()))
        assert not any(read.done() for read in reads)
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


@pytest.mark.parametrize("size", range(5, 40))
def test_pool_shares_are_at_least_one_each_and_sum_to_the_pool(size):
    found = shares(size)
    each = (found.sends, found.locked, found.housekeeping, found.reads)
    assert min(each) >= 1
    assert sum(each) + 1 == size


async def test_requests_wait_for_a_connection_when_the_server_has_no_slot(postgres_url, hands):
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE limited LOGIN CONNECTION LIMIT 6")
        try:
            admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO limited")
            async with hands.opened(postgres_url.replace("//chatsys@", "//limited@"), pool_size=30) as store:
                found = await asyncio.gather(*(store.rooms() for _ in range(60)))
                assert [len(rooms) for rooms in found] == [3] * 60
                await asyncio.gather(*(store.post_message(hands.new_message(hands.guest())) for _ in range(60)))
        finally:
            admin.execute("DROP OWNED BY limited")
            admin.execute("DROP ROLE limited")
