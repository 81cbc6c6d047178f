"""Snapshot files: the content of a store as JSON Lines in one zstd frame, versioned and checksummed.

The first line is a :class:`Header`, the last a :class:`Trailer` with the counts and the SHA-256 of all record lines
between them. The frame also has zstd's own checksum. A file is written under another name and renamed when it is
complete, so that it is never incomplete under its own name. Reading takes two passes: :func:`check` validates the file,
then :func:`read` returns the records. Neither holds more than a batch in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import zstandard

from chatsys.errors import OperatorError, SnapshotDamaged
from chatsys.model.snapshot import Batch, MessageRecord, RoomRecord, UserRecord
from chatsys.store.contract import Store

FORMAT = "chatsys-snapshot"
VERSION = 1

BATCH_RECORDS = 10_000
BATCH_BYTES = 8_000_000
"""A batch that is read ends at the limit that it reaches first."""

LINE_BYTES = 32_000_000
"""A longer record is refused, because a small file may unpack to any size."""

T = TypeVar("T")

Progress = Callable[[int], None]
"""Called with the number of records that were handled since the last call."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="header"):
    """The first line. ``epoch`` is the store's epoch (see ``Store.epoch``) when the snapshot was taken."""

    format: str
    version: int
    created_at: datetime
    epoch: str | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The number of records and receipts in a snapshot."""

    users: int = 0
    rooms: int = 0
    messages: int = 0
    deliveries: int = 0
    reads: int = 0

    @property
    def records(self) -> int:
        """Users, rooms and messages: the number of lines between the first and the last."""
        return self.users + self.rooms + self.messages


class Trailer(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="end"):
    """The last line."""

    counts: Counts
    sha256: str


class Ledger:
    """Counts records and computes the checksum of their lines, from a file or from a store."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._counts = dict.fromkeys(Counts.__struct_fields__, 0)

    def enter(self, batch: Batch) -> bytes:
        """Count a batch. Returns its lines."""
        lines = b"".join(_encoder.encode(record) + b"\n" for record in batch)
        self._sha256.update(lines)
        for record in batch:
            self._counts[_NAMES[type(record)]] += 1
            if isinstance(record, MessageRecord):
                self._counts["deliveries"] += len(record.deliveries)
                self._counts["reads"] += len(record.reads)
        return lines

    def trailer(self) -> Trailer:
        """The counts and the checksum so far."""
        return Trailer(counts=Counts(**self._counts), sha256=self._sha256.hexdigest())


_NAMES: dict[type, str] = {UserRecord: "users", RoomRecord: "rooms", MessageRecord: "messages"}
_encoder = msgspec.json.Encoder()
_records = msgspec.json.Decoder(UserRecord | RoomRecord | MessageRecord)
_END = b'{"kind":"end"'


async def write(store: Store, path: Path, now: datetime, progress: Progress = lambda _: None) -> Trailer:
    """Write the store's content to ``path``, readable by its owner alone. Raises OperatorError if that fails."""
    ledger = Ledger()
    with _complete_or_absent(path) as file:
        header = Header(format=FORMAT, version=VERSION, created_at=now, epoch=await store.epoch())
        await asyncio.to_thread(file.write, _encoder.encode(header) + b"\n")
        async with aclosing(store.snapshot()) as batches:
            async for batch in batches:
                await asyncio.to_thread(_write_batch, file, ledger, batch)
                progress(len(batch))
        file.write(_encoder.encode(ledger.trailer()) + b"\n")
    return ledger.trailer()


def _write_batch(file: zstandard.ZstdCompressionWriter, ledger: Ledger, batch: Batch) -> None:
    file.write(ledger.enter(batch))


@contextmanager
def _complete_or_absent(path: Path) -> Iterator[zstandard.ZstdCompressionWriter]:
    """A file that appears at ``path`` only when it is complete and on disk."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            with compressor.stream_writer(file, closefd=False) as lines:
                yield lines
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise OperatorError(f"The snapshot can't be written to {path}: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def check(path: Path, progress: Callable[[int, int], None] = lambda done, whole: None) -> Trailer:
    """Validate the whole file. ``progress`` gets the number of bytes read, and the file's size.

    Raises SnapshotDamaged, or OperatorError if it can't be opened.
    """
    sha256 = hashlib.sha256()
    trailer = None
    for line in _lines(path, progress):
        if trailer is not None:
            raise SnapshotDamaged(f"{path} continues after its last line. Export it again.")
        if line.startswith(_END):
            trailer = _decoded(path, line, Trailer)
        else:
            sha256.update(line)
    if trailer is None:
        raise SnapshotDamaged(f"{path} ends too early: it is truncated. Copy or export it again.")
    if trailer.sha256 != sha256.hexdigest():
        raise SnapshotDamaged(f"{path} was altered: its checksum is not that of its records. Export it again.")
    return trailer


def read(path: Path) -> Iterator[Batch]:
    """The records of a checked file, in batches of one kind."""
    batch: list[UserRecord | RoomRecord | MessageRecord] = []
    size = 0
    for line in _lines(path):
        if line.startswith(_END):
            break
        try:
            record = _records.decode(line)
        except msgspec.MsgspecError as error:
            raise SnapshotDamaged(f"{path} has a record that this chatsys does not know: {error}.") from error
        if batch and (type(record) is not type(batch[0]) or len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES):
            yield batch  # type: ignore[misc]  # all of one type, as checked above
            batch, size = [], 0
        batch.append(record)
        size += len(line)
    if batch:
        yield batch  # type: ignore[misc]


async def load(store: Store, path: Path, progress: Progress = lambda _: None) -> int:
    """Load a checked file into a store. Returns how many records were new.

    The next batch is decoded while the store writes the current one. Raises SnapshotConflict as ``Store.restore`` does.
    """
    added = 0
    async for batch in ahead(read(path)):
        added += await store.restore(batch)
        progress(len(batch))
    return added


async def ahead(batches: Iterator[Batch]) -> AsyncIterator[Batch]:
    """The batches. Each is decoded in a thread while the one before it is in use."""
    decode = partial(asyncio.get_running_loop().run_in_executor, None, next, batches, None)
    coming = decode()
    try:
        while (batch := await coming) is not None:
            coming = decode()
            yield batch
    finally:
        await asyncio.wait([coming])


def _lines(path: Path, progress: Callable[[int, int], None] = lambda done, whole: None) -> Iterator[bytes]:
    """The lines after the header. Raises unless the header is one of chatsys."""
    try:
        with path.open("rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            lines = io.BufferedReader(reader, 1 << 20)
            _refuse_unknown(path, lines.readline(1000))
            whole, number = path.stat().st_size, 0
            while line := lines.readline(LINE_BYTES):
                number += 1
                if number % BATCH_RECORDS == 0:
                    progress(file.tell(), whole)
                if len(line) == LINE_BYTES:
                    raise SnapshotDamaged(f"{path} has a record of more than {LINE_BYTES:,} bytes. Export it again.")
                yield line
    except zstandard.ZstdError as error:
        raise SnapshotDamaged(f"{path} is not a snapshot, or a damaged one. Copy or export it again.") from error
    except OSError as error:
        raise OperatorError(f"The snapshot {path} can't be read: {error.strerror}.") from error


def _refuse_unknown(path: Path, line: bytes) -> None:
    header = _decoded(path, line, Header)
    if header.format != FORMAT:
        raise SnapshotDamaged(f"{path} is not a snapshot of chatsys.")
    if header.version != VERSION:
        raise OperatorError(
            f"{path} is a snapshot of version {header.version}; this program knows version {VERSION}.",
            hint="Import it with the chatsys that wrote it, or a newer one.",
        )


def _decoded(path: Path, line: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.MsgspecError as error:
        raise SnapshotDamaged(f"{path} is not a snapshot, or a damaged one. Copy or export it again.") from error
