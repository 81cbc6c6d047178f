"""Execution slots are few, shared fairly between clients, and refused instead of awaited without end."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.chat.slots import FairSlots
from chatsys.errors import Overloaded, StatementTimeout, StoreUnavailable


class Workers:
    """Work that lasts until the test ends it; records who got a slot, in order."""

    def __init__(self, slots: FairSlots) -> None:
        self._slots = slots
        self.begun: list[str] = []
        self.go_on = asyncio.Semaphore(0)

    async def work(self, client: str) -> None:
        async with self._slots.slot(client):
            self.begun.append(client)
            await self.go_on.acquire()

    async def start(self, *clients: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.work(client)) for client in clients]
        await asyncio.sleep(0)
        return tasks

    async def finish(self, tasks: list[asyncio.Task[None]]) -> list[str]:
        for _ in tasks:
            self.go_on.release()
        return [type(each).__name__ for each in await asyncio.gather(*tasks, return_exceptions=True)]


async def test_clients_alternate_whatever_each_has_waiting() -> None:
    workers = Workers(FairSlots(1, 100, 10.0))
    tasks = await workers.start("a", "a", "a", "a", "b", "c", "b")
    await workers.finish(tasks)
    assert workers.begun == ["a", "a", "b", "c", "a", "b", "a"]


async def test_no_more_work_runs_than_there_are_slots() -> None:
    workers = Workers(FairSlots(2, 100, 10.0))
    tasks = await workers.start(*"abcd")
    assert workers.begun == ["a", "b"]
    await workers.finish(tasks)
    assert workers.begun == ["a", "b", "c", "d"]


async def test_full_queue_refuses_the_clients_that_fill_it_and_admits_others() -> None:
    workers = Workers(FairSlots(1, 3, 10.0))
    tasks = await workers.start("a", "a", "a", "a", "a", "b", "c")
    outcomes = await workers.finish(tasks)
    assert outcomes == ["NoneType", "NoneType", "Overloaded", "Overloaded", "Overloaded", "NoneType", "NoneType"]
    assert workers.begun == ["a", "a", "b", "c"]


async def test_work_that_waits_too_long_is_refused_and_leaves_the_queue() -> None:
    workers = Workers(FairSlots(1, 1, 0.01))
    (first,) = await workers.start("a")
    for _ in range(3):
        with pytest.raises(Overloaded):
            await workers.work("b")
    await workers.finish([first])
    await workers.finish(await workers.start("b"))
    assert workers.begun == ["a", "b"]


async def test_cancelled_work_leaves_the_queue_or_frees_its_slot() -> None:
    workers = Workers(FairSlots(1, 2, 10.0))
    first, second, third = await workers.start("a", "b", "c")
    second.cancel()
    first.cancel()
    await asyncio.wait([first, second])
    await workers.finish([third])
    assert workers.begun == ["a", "c"]
    admitted, holder = (await workers.start("d"))[0], await workers.start("e")
    workers.go_on.release()
    holder[0].cancel()  # it has just been admitted or is about to be
    await asyncio.wait([admitted, *holder])
    await workers.finish(await workers.start("f"))
    assert workers.begun[-1] == "f"


@pytest.mark.parametrize(("error", "refused"), [(StoreUnavailable, 2), (StatementTimeout, 0), (ValueError, 0)])
async def test_waiting_work_is_refused_when_the_store_is_unavailable(error: type[Exception], refused: int) -> None:
    slots = FairSlots(1, 10, 10.0)
    fails, begun = asyncio.Event(), []

    async def fail() -> None:
        async with slots.slot("a"):
            await fails.wait()
            raise error

    async def work(client: str) -> None:
        async with slots.slot(client):
            begun.append(client)

    tasks = [asyncio.create_task(each) for each in (fail(), work("a"), work("b"))]
    await asyncio.sleep(0)
    fails.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(Overloaded) == refused
    assert len(begun) == 2 - refused
    await work("c")
    assert begun[-1] == "c", "the next ones get a slot"
