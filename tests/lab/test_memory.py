"""Memory of a soak test's processes: what is judged, and what is only reported."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chatsys.lab.loadtest import memory

MIB = 2**20


def written_run(
    folder: Path, *, seconds: int, generator: float, server: float, store: str
) -> list[memory.ProcessMemory]:
    """Write a run whose processes begin with 100 MiB and grow by this much a second; ten messages a second are
    stored."""
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
    return memory.of_repetition(folder, store)


def test_growing_memory_is_a_reason_and_constant_memory_is_none(tmp_path: Path) -> None:
    assert memory.reasons(written_run(tmp_path, seconds=1200, generator=0, server=100, store="postgresql")) == []
    grown = written_run(tmp_path, seconds=1200, generator=20_000, server=0, store="postgresql")
    assert memory.reasons(grown) == ["the generator 1's memory grew by 14.9% after the first five minutes, over 5%"]
    grown = written_run(tmp_path, seconds=1200, generator=0, server=20_000, store="postgresql")
    assert [reason.split()[1] for reason in memory.reasons(grown)] == ["server's"]


def test_memory_store_is_reported_per_message_and_not_judged(tmp_path: Path) -> None:
    _, server = seen = written_run(tmp_path, seconds=1200, generator=0, server=20_000, store="memory")
    assert memory.reasons(seen) == []
    assert server.bytes_each == pytest.approx(2000)


@pytest.mark.parametrize("seconds", [5, 300, 380])
def test_run_without_two_whole_minutes_after_settling_is_not_judged(tmp_path: Path, seconds: int) -> None:
    seen = written_run(tmp_path, seconds=seconds, generator=1_000_000, server=1_000_000, store="postgresql")
    assert [memory.growth for memory in seen] == [None, None]
    assert memory.reasons(seen) == []


def test_run_without_samples_gives_no_memory(tmp_path: Path) -> None:
    assert memory.of_repetition(tmp_path, "memory") == []
