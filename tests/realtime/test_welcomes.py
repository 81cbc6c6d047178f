"""When thousands join together, lists and histories are sent no faster than clients read them."""

from __future__ import annotations

import asyncio
from typing import cast

from chatsys.engine.connection import Connection
from chatsys.realtime.welcomes import Welcomes
from tests.realtime.conftest import FakeConnection


async def test_joins_beyond_the_limit_wait_for_a_free_slot() -> None:
    welcomes = Welcomes(at_once=2, timeout=60)
    readers = [FakeConnection() for _ in range(6)]
    served: list[int] = []

    async def join(number: int) -> None:
        async with welcomes.slot(cast("Connection", readers[number])):
            served.append(number)
            readers[number].unread = 1000

    joining = [asyncio.create_task(join(number)) for number in range(6)]
    await asyncio.sleep(0.05)
    assert served == [0, 1]
    readers[1].unread = 0
    await asyncio.sleep(0.05)
    assert served == [0, 1, 2]
    for reader in readers:
        reader.unread = 0
    while len(served) < 6:
        await asyncio.sleep(0.02)
        for reader in readers:
            reader.unread = 0
    await asyncio.gather(*joining)
    assert served == [0, 1, 2, 3, 4, 5]


async def test_client_that_reads_nothing_keeps_its_slot_for_a_limited_time() -> None:
    welcomes = Welcomes(at_once=1, timeout=0.1)
    stalled = FakeConnection()
    async with welcomes.slot(cast("Connection", stalled)):
        stalled.unread = 1000
    async with asyncio.timeout(5), welcomes.slot(cast("Connection", FakeConnection())):
        assert stalled.unread


async def test_slot_is_released_when_a_join_fails() -> None:
    welcomes = Welcomes(at_once=1, timeout=60)
    for _ in range(3):
        try:
            async with asyncio.timeout(5), welcomes.slot(cast("Connection", FakeConnection())):
                raise LookupError
        except LookupError:
            pass
