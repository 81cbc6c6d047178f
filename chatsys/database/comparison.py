"""Compare a snapshot file with a store, record by record and by checksum, to prove that a move is complete."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec

from chatsys.database.snapshot import Ledger, Progress, Trailer, ahead, read
from chatsys.model.snapshot import MessageRecord, RoomRecord, UserRecord
from chatsys.store.contract import Store

SHOWN = 10
"""How many differences are described. All are counted."""

AnyRecord = UserRecord | RoomRecord | MessageRecord


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and checksums of both sides, the number of ``different`` records, and descriptions of the first ones."""

    snapshot: Trailer
    store: Trailer
    different: int
    examples: list[str]

    @property
    def equal(self) -> bool:
        """True if every record is the same on both sides, and the checksums with them."""
        return not self.different and self.snapshot == self.store


async def compare(store: Store, path: Path, trailer: Trailer, progress: Progress = lambda _: None) -> Comparison:
    """Read both sides in their common order. ``trailer`` is that of the file, which was checked before."""
    ledger = Ledger()
    different = 0
    examples: list[str] = []
    async for here, there in _pairs(_from_file(path, progress), _from_store(store, ledger)):
        if here != there:
            different += 1
            if len(examples) < SHOWN:
                examples.append(_difference(here, there))
    return Comparison(snapshot=trailer, store=ledger.trailer(), different=different, examples=examples)


async def _pairs(
    here: AsyncIterator[AnyRecord], there: AsyncIterator[AnyRecord]
) -> AsyncIterator[tuple[AnyRecord | None, AnyRecord | None]]:
    """Pairs of records with the same key; None where one side lacks the record."""
    ours, theirs = await anext(here, None), await anext(there, None)
    while ours is not None or theirs is not None:
        first = min(_key(record) for record in (ours, theirs) if record is not None)
        left = ours if ours is not None and _key(ours) == first else None
        right = theirs if theirs is not None and _key(theirs) == first else None
        yield left, right
        if left is not None:
            ours = await anext(here, None)
        if right is not None:
            theirs = await anext(there, None)


async def _from_file(path: Path, progress: Progress) -> AsyncIterator[AnyRecord]:
    async for batch in ahead(read(path)):
        for record in batch:
            yield record
        progress(len(batch))


async def _from_store(store: Store, ledger: Ledger) -> AsyncIterator[AnyRecord]:
    async with aclosing(store.snapshot()) as batches:
        async for batch in batches:
            ledger.enter(batch)
            for record in batch:
                yield record


def _key(record: AnyRecord) -> tuple[int, str, int]:
    """The sort key of a record in a snapshot."""
    match record:
        case UserRecord():
            return 0, record.user_id, 0
        case RoomRecord():
            return 1, record.name, 0
        case MessageRecord():
            return 2, record.room, record.seq


def _difference(here: AnyRecord | None, there: AnyRecord | None) -> str:
    if there is None:
        return f"{_name(here)} is only in the snapshot"
    if here is None:
        return f"{_name(there)} is only in the store"
    fields = [field for field in here.__struct_fields__ if getattr(here, field) != getattr(there, field, None)]
    return f"{_name(here)} differs in {', '.join(fields)}"


def _name(record: AnyRecord | None) -> str:
    match record:
        case UserRecord():
            return f"account {record.user_id}"
        case RoomRecord():
            return f"room {record.name!r}"
        case MessageRecord():
            return f"message {record.seq} of room {record.room!r}"
    return "nothing"
