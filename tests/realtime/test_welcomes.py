"""When thousands join together, lists and histories are sent no faster than they are read."""

from __future__ import annotations

import asyncio
from typing import cast

from chatsys.engine.connection import Connection
from chatsys.realtime.welcomes import Welcomes
from tests.realtime.conftest import Ear


async def test_no_more_are_served_than_have_a_place() -> None:
    welcomes = Welcomes(at_once=2, timeout=60)
    readers = [Ear() for _ in range(6)]
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


async def test_one_that_reads_nothing_keeps_its_place_for_a_limited_time() -> None:
    welcomes = Welcomes(at_once=1, timeout=0.1)
    deaf = Ear()
    async with welcomes.slot(cast("Connection", deaf)):
        deaf.unread = 1000
    async with asyncio.timeout(5), welcomes.slot(cast("Connection", Ear())):
        assert deaf.unread


async def test_a_place_is_given_back_when_a_join_fails() -> None:
    welcomes = Welcomes(at_once=1, timeout=60)
    for _ in range(3):
        try:
            async with asyncio.timeout(5), welcomes.slot(cast("Connection", Ear())):
                raise LookupError
        except LookupError:
            pass
