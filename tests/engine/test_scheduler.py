"""Send queues take turns at writing: none waits for a whole other, and the event loop has its turns between."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.engine.scheduler import SHARE, SLICE, FairScheduler, SendQueue


class Pen:
    """A writer that notes in a shared log that it wrote."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def flush(self) -> int:
        self.log.append(self.name)
        return 1


class LongPen(Pen):
    """One that has more to write than its turn allows."""

    def __init__(self, name: str, log: list[str], queue: SendQueue, turns: int) -> None:
        super().__init__(name, log)
        self.queue = queue
        self.left = turns

    def flush(self) -> int:
        self.left -= 1
        if self.left:
            self.queue.add(self)
        return super().flush()


class BrokenPen(Pen):
    """One that fails."""

    def flush(self) -> int:
        raise RuntimeError("no ink")


async def test_a_small_room_waits_for_one_share_of_a_big_room_and_not_for_all_of_it() -> None:
    log: list[str] = []
    scheduler = FairScheduler(asyncio.get_running_loop())
    big, small = SendQueue(scheduler), SendQueue(scheduler)
    for _ in range(10 * SLICE):
        big.add(Pen("big", log))
    small.add(Pen("small", log))
    while len(log) < 10 * SLICE + 1:
        await asyncio.sleep(0)
    assert log.index("small") == SHARE


async def test_the_event_loop_gets_its_turn_after_every_slice() -> None:
    log: list[str] = []
    queue = SendQueue(FairScheduler(asyncio.get_running_loop()))
    for _ in range(3 * SLICE):
        queue.add(Pen("x", log))
    written = []
    while len(log) < 3 * SLICE:
        await asyncio.sleep(0)
        written.append(len(log))
    assert [after - before for before, after in zip([0, *written], written, strict=False)] == [SLICE] * 3


async def test_many_rooms_share_one_slice_in_order_of_their_first_event() -> None:
    log: list[str] = []
    scheduler = FairScheduler(asyncio.get_running_loop())
    for room in ("a", "b", "c"):
        queue = SendQueue(scheduler)
        queue.add(Pen(room + "1", log))
        queue.add(Pen(room + "2", log))
    await asyncio.sleep(0)
    assert log == ["a1", "a2", "b1", "b2", "c1", "c2"]


async def test_one_with_much_to_write_gets_no_more_turns_than_another_room() -> None:
    log: list[str] = []
    scheduler = FairScheduler(asyncio.get_running_loop())
    long, other = SendQueue(scheduler), SendQueue(scheduler)
    long.add(LongPen("long", log, long, turns=100))
    other.add(LongPen("other", log, other, turns=100))
    while len(log) < 200:
        await asyncio.sleep(0)
    assert log == ["long", "other"] * 100


async def test_a_connection_that_cannot_be_written_to_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    scheduler = FairScheduler(asyncio.get_running_loop())
    for room in ("a", "b"):
        queue = SendQueue(scheduler)
        for pen in (Pen(room + "1", log), BrokenPen("broken", log), Pen(room + "2", log)):
            queue.add(pen)
    await asyncio.sleep(0)
    assert log == ["a1", "a2", "b1", "b2"]
    assert caplog.text.count("Could not write to a connection") == 2
    queue.add(Pen("later", log))
    await asyncio.sleep(0)
    assert log[-1] == "later"
