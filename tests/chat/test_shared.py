"""A shared read serves everyone who requested it before it began, and is never older than a request."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.chat.shared import SharedReads
from chatsys.errors import StoreUnavailable


class Source:
    """Counts its reads; each waits until the test releases it."""

    def __init__(self) -> None:
        self.reads = 0
        self.go_on = asyncio.Semaphore(0)

    async def read(self) -> int:
        self.reads += 1
        number = self.reads
        await self.go_on.acquire()
        return number


async def test_simultaneous_requests_share_a_read_and_later_ones_the_next() -> None:
    shared: SharedReads[str, int] = SharedReads()
    source = Source()
    first = [asyncio.create_task(shared.read("a", source.read)) for _ in range(3)]
    await asyncio.sleep(0.001)
    later = [asyncio.create_task(shared.read("a", source.read)) for _ in range(3)]
    await asyncio.sleep(0.001)
    assert source.reads == 1
    source.go_on.release()
    source.go_on.release()
    assert await asyncio.gather(*first, *later) == [1, 1, 1, 2, 2, 2]
    assert source.reads == 2


async def test_each_key_has_its_own_read() -> None:
    shared: SharedReads[str, int] = SharedReads()
    source = Source()
    both = [asyncio.create_task(shared.read(key, source.read)) for key in "ab"]
    for _ in both:
        source.go_on.release()
    assert sorted(await asyncio.gather(*both)) == [1, 2]


async def test_failed_read_fails_all_its_requests_and_the_next_read_starts() -> None:
    shared: SharedReads[str, int] = SharedReads()

    async def fail() -> int:
        raise ValueError

    both = [asyncio.create_task(shared.read("a", fail)) for _ in range(2)]
    assert [type(each) for each in await asyncio.gather(*both, return_exceptions=True)] == [ValueError, ValueError]
    source = Source()
    source.go_on.release()
    assert await shared.read("a", source.read) == 1


async def test_cancelled_request_does_not_affect_the_others() -> None:
    shared: SharedReads[str, int] = SharedReads()
    source = Source()
    gone, waiting = [asyncio.create_task(shared.read("a", source.read)) for _ in range(2)]
    await asyncio.sleep(0.001)
    gone.cancel()
    source.go_on.release()
    assert await waiting == 1
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_read_that_waits_for_a_failed_read_fails_with_it() -> None:
    shared: SharedReads[str, int] = SharedReads()
    source, fails = Source(), asyncio.Event()

    async def fail() -> int:
        await fails.wait()
        raise StoreUnavailable("it hangs", hint="look")

    first = asyncio.create_task(shared.read("a", fail))
    await asyncio.sleep(0.001)
    waits = asyncio.create_task(shared.read("a", source.read))
    await asyncio.sleep(0.001)
    fails.set()
    for outcome in await asyncio.gather(first, waits, return_exceptions=True):
        assert isinstance(outcome, StoreUnavailable)
        assert (outcome.message, outcome.hint) == ("it hangs", "look")
    assert source.reads == 0
    source.go_on.release()
    assert await shared.read("a", source.read) == 1
