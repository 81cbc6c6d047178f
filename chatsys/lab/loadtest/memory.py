"""Whether the memory of a process grows: the minute after the first five minutes against the last minute of a run.

A store in memory keeps every message by design. So the growth of its server is shown in bytes per message, not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

SETTLED = 300.0
"""Seconds after all users have arrived. From then on memory must not grow."""
MINUTE = 60.0
LIMIT = 0.05
MESSAGES = "chatsys_messages_total"


class ProcessMemory(msgspec.Struct, frozen=True):
    """The resident bytes of one process: ``first`` and ``end`` are single samples.

    ``settled`` and ``last`` are the medians of the minute after settling and of the last minute, None for a run without
    two whole minutes after settling. ``messages`` is the number of messages stored between the middles of these
    minutes. ``keeps`` says that the process stores each message in memory.
    """

    process: str
    first: int
    end: int
    settled: float | None
    last: float | None
    messages: float = 0.0
    keeps: bool = False

    @property
    def growth(self) -> float | None:
        """Growth as a share of the memory after five minutes; None for a shorter run."""
        return None if self.settled is None or self.last is None else self.last / self.settled - 1

    @property
    def bytes_each(self) -> float | None:
        """Growth per message stored meanwhile; None for a shorter run or without messages."""
        if self.settled is None or self.last is None or not self.messages:
            return None
        return (self.last - self.settled) / self.messages

    @property
    def grows(self) -> bool:
        """Whether it grew by more than :data:`LIMIT` although it does not store messages."""
        return not self.keeps and self.growth is not None and self.growth > LIMIT


def of_repetition(folder: Path, store: str) -> list[ProcessMemory]:
    """The memory of generators and server in one repetition, from the samples in its folder."""
    locust, server = lines(folder / "samples.jsonl"), lines(folder / "server.jsonl")
    if not locust:
        return []
    users = max(line["users"] for line in locust)
    full = next(line["time"] for line in locust if line["users"] >= users)
    found = []
    for number, name in enumerate(sorted({name for line in locust for name in line["generators"]}), 1):
        own = [
            {"time": line["time"], "rss": line["generators"][name]["rss"]}
            for line in locust
            if name in line["generators"]
        ]
        found.append(_memory(f"generator {number}", own, full))
    if server and "rss" in server[0]:
        found.append(_memory("server", server, full, keeps=store == "memory"))
    return found


def _memory(process: str, samples: Sequence[dict[str, Any]], full: float, *, keeps: bool = False) -> ProcessMemory:
    end = samples[-1]["time"]
    early = [s for s in samples if full + SETTLED <= s["time"] < full + SETTLED + MINUTE]
    late = [s for s in samples if s["time"] > end - MINUTE]
    first, last = samples[0]["rss"], samples[-1]["rss"]
    if not early or early[-1]["time"] >= late[0]["time"]:
        return ProcessMemory(process, first, last, None, None, keeps=keeps)
    stored = [median(s.get("metrics", {}).get(MESSAGES, 0.0) for s in minute) for minute in (early, late)]
    settled, at_last = (median(s["rss"] for s in minute) for minute in (early, late))
    return ProcessMemory(process, first, last, settled, at_last, stored[1] - stored[0], keeps)


def reasons(seen: Sequence[ProcessMemory]) -> list[str]:
    """A reason for each process whose memory grew; empty if none did."""
    return [
        f"the {each.process}'s memory grew by {each.growth:.1%} after the first five minutes, over {LIMIT:.0%}"
        for each in seen
        if each.grows
    ]


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON Lines file; empty if it does not exist."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=dict[str, Any]) for line in path.read_bytes().splitlines()]
