"""PgBouncer in transaction mode: a server connection serves one client now and another the next moment."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chatsys import errors
from chatsys.database.opening import open_prepared_store
from chatsys.store.opening import open_store
from chatsys.store.options import StoreOptions
from tests.contract.conftest import Cast
from tests.db.conftest import chatsys
from tests.pgbouncer import bounced


@pytest.fixture
def bouncer(fresh: str) -> Iterator[str]:
    """The URL of a fresh database through PgBouncer, with two server connections for all clients."""
    with bounced(fresh) as url:
        yield url


async def test_twenty_clients_chat_over_two_server_connections(bouncer: str) -> None:
    async with open_store(f"{bouncer}?pgbouncer=true", StoreOptions(pool_size=10)) as store:
        cast = Cast(store)
        await store.register_server(cast.server_id, cast.now())
        people = [await cast.user(f"person_{number}") for number in range(20)]
        await asyncio.gather(*(cast.join(who, "general") for who in people))
        posted = await asyncio.gather(*(cast.post(who, "general", f"by {who.username}") for who in people * 5))
        assert sorted(message.seq for message in posted) == list(range(1, 101))
        await asyncio.gather(*(store.mark_read("general", posted[0].message_id, who, cast.now()) for who in people[1:]))
        assert len((await cast.message("general", posted[0].message_id)).read_by) == 19
        assert [found.user_id for found in await store.search_users("person_19", 10)] == [people[19].user_id]
        await store.retire_server(cast.server_id, cast.now())
        assert await store.activity() == (0, 0)


async def test_schema_is_set_up_through_pgbouncer(bouncer: str) -> None:
    async with open_prepared_store(f"{bouncer}?pgbouncer=true", StoreOptions(pool_size=5)) as store:
        assert len(await store.rooms()) == 3
    assert chatsys("db", "migrate", "--database-url", f"{bouncer}?pgbouncer=true").returncode == 0
    assert chatsys("db", "status", "--database-url", f"{bouncer}?pgbouncer=true").returncode == 0
    done = chatsys("db", "cleanup", "--messages-older-than", "1d", "--database-url", f"{bouncer}?pgbouncer=true")
    assert done.returncode == 0, done.stderr


async def test_pgbouncer_without_tls_is_reported_to_a_client_that_requires_it(bouncer: str) -> None:
    with pytest.raises(errors.TlsFailed):
        async with open_store(f"{bouncer}?pgbouncer=true&sslmode=require", StoreOptions()):
            pass
    said = chatsys("db", "status", "--database-url", f"{bouncer}?sslmode=require")
    assert re.search(r"TLS to the database on 127\.0\.0\.1:\d+ failed", said.stderr)


def test_exports_and_imports_alternate_through_pgbouncer(bouncer: str, tmp_path: Path) -> None:
    url = f"{bouncer}?pgbouncer=true"
    for attempt in range(3):
        done = chatsys("export", str(tmp_path / f"{attempt}.snapshot"), "--from", url)
        assert done.returncode == 0, done.stderr
    for attempt in range(3):
        done = chatsys("import", str(tmp_path / f"{attempt}.snapshot"), "--to", url)
        assert done.returncode == 0, done.stderr


async def test_locked_room_delays_no_other_room_through_pgbouncer(bouncer: str, fresh: str) -> None:
    async with open_store(f"{bouncer}?pgbouncer=true", StoreOptions(pool_size=8)) as store:
        cast = Cast(store)
        guest = cast.guest("gus")
        for room in "AB":
            await cast.post(guest, room, "first")
        async with await psycopg.AsyncConnection.connect(fresh) as locking:
            await locking.execute("SELECT FROM rooms WHERE room_name = 'A' FOR UPDATE")
            held = [asyncio.create_task(cast.post(guest, "A", f"A{number}")) for number in range(5)]
            async with asyncio.timeout(20):
                for number in range(20):
                    await cast.post(guest, "B", f"B{number}")
            assert not any(task.done() for task in held)
            await locking.rollback()
        await asyncio.gather(*held)
        assert [message.text for message in await store.history("A", 10)] == ["first", *(f"A{n}" for n in range(5))]
        assert len(await store.history("B", 100)) == 21
        for number in range(3):  # none of the limits remains set on the server's connections
            await cast.post(guest, "A", f"later {number}")
