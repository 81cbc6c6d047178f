"""Snapshot files: complete or absent, and checked before they are used."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import zstandard

from chatsys.database import snapshot
from chatsys.database.comparison import compare
from chatsys.errors import OperatorError, SnapshotDamaged
from chatsys.model.snapshot import MessageRecord
from chatsys.store.opening import open_store

from .conftest import NOW


def lines_of(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().splitlines(keepends=True)


def write_lines(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(zstandard.ZstdCompressor().compress(b"".join(lines)))


async def test_snapshot_is_json_lines_between_a_header_and_a_trailer(snapshot_file):
    header, *records, trailer = [json.loads(line) for line in lines_of(snapshot_file)]
    assert header == {
        "kind": "header",
        "format": "chatsys-snapshot",
        "version": 1,
        "created_at": "2031-05-06T07:08:09.123000Z",
        "epoch": header["epoch"],
    }
    assert header["epoch"]
    assert [record["kind"] for record in records] == ["user"] * 10 + ["room"] * 8 + ["message"] * 500
    assert trailer["counts"] == {"users": 10, "rooms": 8, "messages": 500, "deliveries": 100, "reads": 50}


async def test_snapshot_can_be_read_only_by_its_owner(snapshot_file):
    assert snapshot_file.stat().st_mode & 0o777 == 0o600


async def test_written_snapshot_is_loaded_and_compares_equal(snapshot_file):
    seen = []
    async with open_store("memory://") as store:
        trailer = snapshot.check(snapshot_file)
        assert trailer.counts.records == 518
        assert await snapshot.load(store, snapshot_file, seen.append) == 515
        assert sum(seen) == 518
        assert (await compare(store, snapshot_file, trailer)).equal


async def test_writing_again_gives_the_same_records_and_the_same_checksum(filled, snapshot_file, tmp_path):
    again = await snapshot.write(filled, tmp_path / "again", NOW)
    assert again == snapshot.check(snapshot_file)
    assert lines_of(tmp_path / "again") == lines_of(snapshot_file)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.999])
async def test_truncated_file_is_refused(snapshot_file, part):
    data = snapshot_file.read_bytes()
    snapshot_file.write_bytes(data[: min(int(len(data) * part), len(data) - 1)])
    refused(snapshot_file)


@pytest.mark.parametrize("place", [0.0, 0.01, 0.2, 0.5, 0.8, 0.99])
async def test_file_with_one_flipped_bit_is_refused(snapshot_file, place):
    data = bytearray(snapshot_file.read_bytes())
    data[int(len(data) * place)] ^= 0b100
    snapshot_file.write_bytes(data)
    refused(snapshot_file)


async def test_altered_missing_swapped_repeated_and_added_records_are_refused(snapshot_file):
    lines = lines_of(snapshot_file)
    message = lines[100].replace(b"message ", b"massage ")
    for altered in (
        [*lines[:100], message, *lines[101:]],
        [*lines[:100], *lines[101:]],
        [*lines[:100], lines[101], lines[100], *lines[102:]],
        [*lines[:101], *lines[100:]],
        [*lines, lines[100]],
        [*lines, lines[-1]],
        lines[:-1],
        lines[1:],
        [*lines[:-1], b"\n", lines[-1]],
    ):
        write_lines(snapshot_file, altered)
        refused(snapshot_file)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x28\xb5\x2f\xfd", b'{"kind":"header"}\n', b"\0" * 100])
async def test_file_that_is_no_snapshot_is_refused(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    refused(tmp_path / "file")


async def test_compressed_file_of_another_kind_is_refused(snapshot_file):
    for first in (b"hello\n", b'{"kind":"header","format":"other","version":1,"created_at":"2031-01-01T00:00:00Z"}\n'):
        write_lines(snapshot_file, [first, *lines_of(snapshot_file)[1:]])
        refused(snapshot_file)


async def test_file_with_appended_data_is_refused(snapshot_file):
    with snapshot_file.open("ab") as file:
        file.write(b"more")
    refused(snapshot_file)


async def test_newer_version_is_refused_with_its_number(snapshot_file):
    lines = lines_of(snapshot_file)
    write_lines(snapshot_file, [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]])
    with pytest.raises(OperatorError, match="version 2"):
        snapshot.check(snapshot_file)


async def test_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(OperatorError, match=str(path)):
            snapshot.check(path)


def refused(path: Path) -> None:
    """Check that the file is refused and named."""
    with pytest.raises(SnapshotDamaged, match=str(path)):
        snapshot.check(path)


async def test_interrupted_export_leaves_the_old_file_and_no_other(filled, snapshot_file, monkeypatch):
    before = snapshot_file.read_bytes()
    whole = filled.snapshot

    async def interrupted():
        async for batch in whole():
            yield batch
            if isinstance(batch[0], MessageRecord):
                raise KeyError

    monkeypatch.setattr(filled, "snapshot", interrupted)
    with pytest.raises(KeyError):
        await snapshot.write(filled, snapshot_file, NOW)
    assert snapshot_file.read_bytes() == before
    assert list(snapshot_file.parent.iterdir()) == [snapshot_file]


async def test_export_to_a_folder_that_is_missing_says_so(filled, tmp_path):
    with pytest.raises(OperatorError, match="No such file or directory"):
        await snapshot.write(filled, tmp_path / "missing" / "file", NOW)


async def test_comparison_names_what_differs(snapshot_file):
    async with open_store("memory://") as store:
        users, rooms, messages = snapshot.read(snapshot_file)
        changed = msgspec.structs.replace(users[0], bio="changed")
        for batch in ([changed, *users[1:]], rooms, messages[1:]):
            await store.restore(batch)
        result = await compare(store, snapshot_file, snapshot.check(snapshot_file))
    assert not result.equal
    assert result.different == 2
    assert "differs in bio" in result.examples[0]
    assert result.examples[1] == "message 1 of room 'room 0' is only in the snapshot"


async def test_comparison_finds_records_that_only_the_store_has(filled, snapshot_file):
    (message,) = await filled.history("room 0", 1)
    extra = {"message_id": "018f0000-0000-7000-8000-000000000000", "seq": message.seq + 1}
    last = [batch async for batch in filled.snapshot() if getattr(batch[-1], "room", "") == "room 0"][-1][-1]
    await filled.restore([msgspec.structs.replace(last, client_message_id=None, **extra)])
    result = await compare(filled, snapshot_file, snapshot.check(snapshot_file))
    assert result.different == 2
    assert any("only in the store" in each for each in result.examples)
    assert any("differs in last_seq" in each for each in result.examples)
