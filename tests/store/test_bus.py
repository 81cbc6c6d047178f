"""The bus over LISTEN/NOTIFY: in order, of any length, in few notifications, and honest about gaps."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import psycopg
import pytest

from chatsys.store.opening import StoreOptions, open_bus
from chatsys.store.postgres.bus import FRAME_BYTES


class Receiver:
    """Keeps what a bus delivers."""

    def __init__(self, bus) -> None:
        self.got: list[bytes] = []
        self.gaps = asyncio.Event()
        self._changed = asyncio.Event()
        bus.subscribe(self._take, self.gaps.set)

    def _take(self, payload: bytes) -> None:
        self.got.append(payload)
        self._changed.set()

    async def until(self, count: int) -> list[bytes]:
        while len(self.got) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.got


@asynccontextmanager
async def buses(url: str):
    async with open_bus(url, StoreOptions()) as one, open_bus(url, StoreOptions()) as two:
        yield one, two


@pytest.mark.parametrize("server", ["postgres_url", "postgres15_url"])
async def test_payloads_of_any_length_arrive_in_order_at_others_and_not_at_their_sender(server, request):
    payloads = [
        b"first",
        b"",
        b'{"a": "1:2 3"}',
        "\u00e9\U0001f600".encode() * 10_000,
        b"x" * FRAME_BYTES,
        b"y" * (3 * FRAME_BYTES + 1),
        b"last",
    ]
    async with buses(request.getfixturevalue(server)) as (one, two):
        mine, theirs = Receiver(one), Receiver(two)
        for payload in payloads:
            await one.publish(payload)
        await two.publish(b"back")
        assert await theirs.until(len(payloads)) == payloads
        assert await mine.until(1) == [b"back"]


async def test_payloads_that_wait_together_go_out_as_one_notification(postgres_url):
    async with buses(postgres_url) as (one, two):
        theirs = Receiver(two)
        assert len(await listened(postgres_url, one, theirs)) == 1


async def listened(url, one, theirs) -> list[str]:
    """The notifications that PostgreSQL delivered for a hundred payloads published together."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("LISTEN chatsys")
        await asyncio.gather(*(one.publish(str(number).encode()) for number in range(100)))
        assert await theirs.until(100) == [str(number).encode() for number in range(100)]
        first = list(connection.notifies(timeout=30, stop_after=1))
        return [notify.payload for notify in (*first, *connection.notifies(timeout=0.1))]


async def test_a_lost_listener_comes_back_and_reports_the_gap(postgres_url):
    async with buses(postgres_url) as (one, two):
        theirs = Receiver(two)
        await one.publish(b"before")
        await theirs.until(1)
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'chatsys' AND datname = current_database()"
            )
        await theirs.gaps.wait()
        await one.publish(b"after")
        assert await theirs.until(2) == [b"before", b"after"]
