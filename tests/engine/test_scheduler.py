"""Send queues alternate at writing: none waits for a whole other queue, and the event loop runs between slices."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.engine.scheduler import SHARE, SLICE, FairScheduler, SendQueue


class FakeWriter:
    """A writer that records its writes in a shared log."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def flush(self) -> int:
        self.log.append(self.name)
        return 1


class LongWriter(FakeWriter):
    """A writer that has more to write than one share allows."""

    def __init__(self, name: str, log: list[str], queue: SendQueue, writes: int) -> None:
        super().__init__(name, log)
        self.queue = queue
        self.left = writes

    def flush(self) -> int:
        self.left -= 1
        if self.left:
            self.queue.add(self)
        return super().flush()


class FailingWriter(FakeWriter):
    """A writer that fails."""

    def flush(self) -> int:
        raise RuntimeError("no ink")


async def test_small_room_waits_only_for_one_share_of_a_big_room() -> None:
    log: list[str] = []
    scheduler = FairScheduler(asyncio.get_running_loop())
    big, small = SendQueue(scheduler), SendQueue(scheduler)
    for _ in range(10 * SLICE):
        big.add(FakeWriter("big", log))
    small.add(FakeWriter("small", log))
    while len(log) < 10 * SLICE + 1:
        await asyncio.sleep(0)
    assert log.index("small") == SHARE


async def test_event_loop_runs_after_every_slice() -> None:
    log: list[str] = []
    queue = SendQueue(FairScheduler(asyncio.get_running_loop()))
    for _ in range(3 * SLICE):
        queue.add(FakeWriter("x", log))
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
        queue.add(FakeWriter(room + "1", log))
        queue.add(FakeWriter(room + "2", log))
    await asyncio.sleep(0)
    assert log == ["a1", "a2", "b1", "b2", "c1", "c2"]


async def test_writer_with_much_to_write_gets_no_more_shares_than_another() -> None:
    log: list[str] = []
    scheduler = FairScheduler(asyncio.get_running_loop())
    long, other = SendQueue(scheduler), SendQueue(scheduler)
    long.add(LongWriter("long", log, long, writes=100))
    other.add(LongWriter("other", log, other, writes=100))
    while len(log) < 200:
        await asyncio.sleep(0)
    assert log == ["long", "other"] * 100


async def test_connection_that_cannot_be_written_to_blocks_no_other(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    scheduler = FairScheduler(asyncio.get_running_loop())
    for room in ("a", "b"):
        queue = SendQueue(scheduler)
        for writer in (FakeWriter(room + "1", log), FailingWriter("broken", log), FakeWriter(room + "2", log)):
            queue.add(writer)
    await asyncio.sleep(0)
    assert log == ["a1", "a2", "b1", "b2"]
    assert caplog.text.count("Could not write to a connection") == 2
    queue.add(FakeWriter("later", log))
    await asyncio.sleep(0)
    assert log[-1] == "later"
