"""The writer's promises, shown with flushes that the test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import pytest

from chatsys.errors import StoreError, StoreUnavailable, WriteQueueFull
from chatsys.store.postgres.outage import Outages
from chatsys.store.postgres.writer import BATCH, LOCK_WAIT, Locked, Locks, Repeat, Writer


class Flushing:
    """Flushes that wait for ``go`` and record their batches. An item "bad" fails the whole batch.

    All items need the same row, which nobody locks, so no write is flushed beside another one.
    """

    def __init__(self, *, limit: int = 10_000) -> None:
        self.batches: list[list[str]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.failures: list[BaseException] = []
        self.outages = Outages()
        self.outages.watching = True
        self.writer: Writer[str, str] = Writer(
            self.flush,
            keys=lambda item: (item,) if item.startswith("key") else (),
            limit=limit,
            observe=lambda *_: None,
            locks=Locks(lambda _: ("all",), self.blocked, self.wait),
            outages=self.outages,
        )

    async def flush(self, batch: Sequence[str]) -> Sequence[str]:
        self.batches.append(list(batch))
        await self.go.wait()
        if self.failures:
            raise self.failures.pop(0)
        if "bad" in batch:
            raise StoreError("a bad row")
        return [item.upper() for item in batch]

    async def blocked(self, _rows: Collection[str]) -> Collection[str]:
        return ()

    async def wait(self, _row: str) -> None:
        return None


async def started() -> None:
    """Let the writer collect the waiting items into a flush."""
    await asyncio.sleep(0)


async def test_single_write_is_flushed_at_once() -> None:
    flushing = Flushing()
    assert await flushing.writer.write("a") == "A"
    assert flushing.batches == [["a"]]


async def test_writes_that_arrive_during_a_flush_form_the_next_one_in_order() -> None:
    flushing = Flushing()
    flushing.go.clear()
    writes = [flushing.writer.write("first")]
    await started()
    writes += [flushing.writer.write(str(number)) for number in range(5)]
    flushing.go.set()
    assert await asyncio.gather(*writes) == ["FIRST", "0", "1", "2", "3", "4"]
    assert flushing.batches == [["first"], ["0", "1", "2", "3", "4"]]


async def test_flush_size_is_limited() -> None:
    flushing = Flushing()
    await asyncio.gather(*(flushing.writer.write(str(number)) for number in range(BATCH * 2 + 1)))
    assert [len(batch) for batch in flushing.batches] == [BATCH, BATCH, 1]


async def test_bad_row_fails_alone() -> None:
    flushing = Flushing()
    outcomes = await asyncio.gather(
        *(flushing.writer.write(item) for item in ("a", "bad", "b")), return_exceptions=True
    )
    assert outcomes[0] == "A"
    assert isinstance(outcomes[1], StoreError)
    assert outcomes[2] == "B"


async def test_cancelled_waiter_affects_neither_its_own_write_nor_others() -> None:
    flushing = Flushing()
    flushing.go.clear()
    writes = [flushing.writer.write(item) for item in ("a", "b", "c")]
    await started()
    writes[1].cancel()
    flushing.go.set()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert outcomes[0] == "A"
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert outcomes[2] == "C"
    assert flushing.batches == [["a", "b", "c"]]


async def test_write_beyond_the_queue_limit_is_refused_at_once() -> None:
    flushing = Flushing(limit=2)
    flushing.go.clear()
    writes = [flushing.writer.write("a")]
    await started()
    writes += [flushing.writer.write(item) for item in ("b", "c")]
    with pytest.raises(WriteQueueFull):
        flushing.writer.write("d")
    flushing.go.set()
    assert await asyncio.gather(*writes) == ["A", "B", "C"]


async def test_full_queue_is_logged_as_an_outage_in_two_lines(caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr("chatsys.store.postgres.outage.QUIET_SECONDS", 0.0)
    flushing = Flushing(limit=1)
    flushing.go.clear()
    writes = [flushing.writer.write("a")]
    await started()
    writes.append(flushing.writer.write("b"))
    for _ in range(3):
        with pytest.raises(WriteQueueFull):
            flushing.writer.write("c")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    flushing.go.set()
    await asyncio.gather(*writes)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "write_queue_full" in caplog.messages[0]
    assert "the queue of writes" in caplog.messages[1]
    assert "3 statements" in caplog.messages[1]


async def test_lost_connection_fails_the_batch_and_not_the_next_one() -> None:
    flushing = Flushing()
    flushing.failures.append(StoreUnavailable("lost"))
    outcomes = await asyncio.gather(*(flushing.writer.write(item) for item in "ab"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]
    assert await flushing.writer.write("c") == "C"


async def test_overtaken_flush_is_repeated_as_a_whole() -> None:
    flushing = Flushing()
    flushing.failures += [Repeat(StoreError("overtaken"))] * 2
    assert await asyncio.gather(*(flushing.writer.write(item) for item in "ab")) == ["A", "B"]
    assert flushing.batches == [["a", "b"]] * 3


async def test_conflicting_writes_use_separate_flushes() -> None:
    flushing = Flushing()
    await asyncio.gather(*(flushing.writer.write(item) for item in ("key1", "key2", "key1", "other")))
    assert flushing.batches == [["key1", "key2", "other"], ["key1"]]


async def test_draining_waits_for_all_queued_writes() -> None:
    flushing = Flushing()
    writes = [flushing.writer.write(item) for item in "abc"]
    await started()
    await flushing.writer.drain()
    assert [write.result() for write in writes] == ["A", "B", "C"]
    assert flushing.batches == [["a", "b", "c"]]


class Rows:
    """Items are "room text"; a flush waits for ``go``, and meets ``Locked`` while one of its rooms is locked."""

    def __init__(self, *, patience: float = 4.5) -> None:
        self.batches: list[list[str]] = []
        self.locked: set[str] = set()
        self.stuck: dict[str, asyncio.Event] = {}
        self.writer: Writer[str, str] = Writer(
            self.flush,
            keys=lambda _: (),
            limit=100,
            observe=lambda *_: None,
            locks=Locks(lambda item: (room_of(item),), self.blocked, self.wait),
            patience=patience,
        )

    async def flush(self, batch: Sequence[str]) -> Sequence[str]:
        self.batches.append(list(batch))
        for item in batch:
            if room_of(item) in self.stuck:
                await self.stuck[room_of(item)].wait()
            if room_of(item) in self.locked:
                raise Locked(StoreUnavailable("locked"))
        return [item.upper() for item in batch]

    async def blocked(self, rows: Collection[str]) -> Collection[str]:
        return self.locked.intersection(rows)

    async def wait(self, row: str) -> None:
        await asyncio.sleep(0.01)
        if row in self.locked:
            raise Locked(StoreUnavailable("locked"))


def room_of(item: str) -> str:
    return item.split(maxsplit=1)[0]


async def test_writes_pass_a_slow_flush_unless_they_need_its_rows() -> None:
    rows = Rows()
    rows.stuck["a"] = asyncio.Event()
    first = rows.writer.write("a 1")
    await started()
    behind, passing = rows.writer.write("a 2"), rows.writer.write("b 1")
    assert await asyncio.wait_for(passing, 1) == "B 1"
    later = rows.writer.write("b 2")
    assert await asyncio.wait_for(later, 1) == "B 2"
    assert not first.done()
    assert not behind.done()
    rows.stuck["a"].set()
    assert await asyncio.gather(first, behind) == ["A 1", "A 2"]
    assert rows.batches == [["a 1"], ["b 1"], ["b 2"], ["a 2"]]


async def test_a_write_does_not_overtake_one_that_passed_a_slow_flush() -> None:
    rows = Rows()
    rows.stuck = {"a": asyncio.Event(), "b": asyncio.Event()}
    writes = [rows.writer.write("a 1")]
    await started()
    writes.append(rows.writer.write("b 1"))
    while rows.batches != [["a 1"], ["b 1"]]:
        await asyncio.sleep(0.001)
    rows.stuck["a"].set()
    await writes[0]
    writes.append(rows.writer.write("b 2"))
    await asyncio.sleep(0.01)
    assert rows.batches == [["a 1"], ["b 1"]]
    rows.stuck["b"].set()
    assert await asyncio.gather(*writes) == ["A 1", "B 1", "B 2"]


async def test_a_locked_row_is_met_once_and_its_writes_keep_their_order() -> None:
    rows = Rows()
    rows.locked = {"a"}
    behind = [rows.writer.write(item) for item in ("a 1", "b 1", "a 2")]
    assert await behind[1] == "B 1"
    behind.append(rows.writer.write("a 3"))
    await asyncio.sleep(0.05)
    assert [batch for batch in rows.batches if "a 1" in batch or "a 3" in batch] == [["a 1", "b 1", "a 2"]]
    rows.locked = set()
    assert await asyncio.gather(*behind) == ["A 1", "B 1", "A 2", "A 3"]
    assert rows.batches[-1] == ["a 1", "a 2", "a 3"]


async def test_a_write_behind_a_locked_row_is_refused_by_its_own_patience_alone() -> None:
    rows = Rows(patience=LOCK_WAIT + 0.2)
    rows.locked = {"a"}
    early = rows.writer.write("a 1")
    await asyncio.sleep(0.15)
    late = rows.writer.write("a 2")
    with pytest.raises(StoreUnavailable):
        await early
    assert not late.done()
    with pytest.raises(StoreUnavailable):
        await late
    await asyncio.sleep(0.02)
    rows.locked = set()
    assert await rows.writer.write("a 3") == "A 3"
    assert [batch for batch in rows.batches if batch[0].startswith("a")] == [["a 1"], ["a 3"]]


async def test_draining_does_not_wait_for_a_locked_row_that_nobody_needs() -> None:
    rows = Rows(patience=LOCK_WAIT + 0.1)
    rows.locked = {"a"}
    with pytest.raises(StoreUnavailable):
        await rows.writer.write("a 1")
    await asyncio.wait_for(rows.writer.drain(), 0.1)
