"""Memory of a soak's processes: what is judged, what is only told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chatsys.lab.loadtest import memory

MIB = 2**20


def turn(folder: Path, *, seconds: int, generator: float, server: float, store: str) -> list[memory.ProcessMemory]:
    """A turn whose processes begin with 100 MiB, then grow by this much a second; ten messages a second are stored."""
    locust = [
        {"time": 1000.0 + t, "users": min(10, t), "generators": {"local": {"rss": 100 * MIB + generator * t}}}
        for t in range(seconds)
    ]
    served = [
        {"time": 1000.0 + t, "rss": 100 * MIB + server * t, "metrics": {memory.MESSAGES: 10.0 * t}}
        for t in range(seconds)
    ]
    for name, found in (("samples.jsonl", locust), ("server.jsonl", served)):
        (folder / name).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in found))
    return memory.of_turn(folder, store)


def test_memory_that_stays_is_no_reason_and_memory_that_grows_is_one(tmp_path: Path) -> None:
    assert memory.reasons(turn(tmp_path, seconds=1200, generator=0, server=100, store="postgres")) == []
    grown = turn(tmp_path, seconds=1200, generator=20_000, server=0, store="postgres")
    assert memory.reasons(grown) == ["the generator 1's memory grew by 14.9% after the first five minutes, over 5%"]
    grown = turn(tmp_path, seconds=1200, generator=0, server=20_000, store="postgres")
    assert [reason.split()[1] for reason in memory.reasons(grown)] == ["server's"]


def test_a_store_in_memory_is_told_by_the_message_and_not_judged(tmp_path: Path) -> None:
    _, server = seen = turn(tmp_path, seconds=1200, generator=0, server=20_000, store="memory")
    assert memory.reasons(seen) == []
    assert server.bytes_each == pytest.approx(2000)


@pytest.mark.parametrize("seconds", [5, 300, 380])
def test_a_run_without_two_whole_minutes_after_settling_is_not_judged(tmp_path: Path, seconds: int) -> None:
    seen = turn(tmp_path, seconds=seconds, generator=1_000_000, server=1_000_000, store="postgres")
    assert [memory.growth for memory in seen] == [None, None]
    assert memory.reasons(seen) == []


def test_a_turn_that_left_no_samples_says_nothing(tmp_path: Path) -> None:
    assert memory.of_turn(tmp_path, "memory") == []
