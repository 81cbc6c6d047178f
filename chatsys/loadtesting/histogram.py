"""A histogram of response times with fixed memory. It replaces the dictionary of a Locust entry that has grown large.

A dictionary with a key for each hundredth of a millisecond grows as long as a run lasts, and Locust sorts its keys for
each percentile of each line, each second. Here each key of :func:`rounded` below 100 s has its slot from the start.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, MutableMapping

SPARSE = 500
"""A dictionary with no more keys than this is smaller than a :class:`Histogram`."""
_HUNDREDTHS = 10_000
_DECADE = 900
_SLOTS = _HUNDREDTHS + 3 * _DECADE
_BLOCK = 100
_LIMIT = 100_000.0


def rounded(ms: float) -> float:
    """``ms`` rounded to 0.01 ms below 100 ms and to three significant digits above: a histogram's key."""
    if ms < 100.0:
        return round(ms, 2)
    return round(ms, 2 - math.floor(math.log10(ms)))


class Histogram(MutableMapping[float, int]):
    """How often each response time (milliseconds, from :func:`rounded`) occurred; a missing key counts 0."""

    __slots__ = ("_blocks", "_long", "_slots")

    def __init__(self, counts: MutableMapping[float, int]) -> None:
        self._slots = array("I", bytes(4 * _SLOTS))
        self._blocks = array("Q", bytes(8 * (_SLOTS // _BLOCK)))  # sums of slots, to find a percentile in few steps
        self._long: dict[float, int] = {}
        self.add(counts)

    def __getitem__(self, ms: float) -> int:
        return self._long.get(ms, 0) if ms >= _LIMIT else self._slots[_slot(ms)]

    def __setitem__(self, ms: float, count: int) -> None:
        if ms >= _LIMIT:
            self._long[ms] = count
        else:
            slot = _slot(ms)
            self._blocks[slot // _BLOCK] += count - self._slots[slot]
            self._slots[slot] = count

    def __delitem__(self, ms: float) -> None:
        self[ms] = 0

    def __contains__(self, ms: object) -> bool:
        return isinstance(ms, float) and self[ms] > 0

    def __iter__(self) -> Iterator[float]:
        yield from (_key(slot) for slot, count in enumerate(self._slots) if count)
        yield from sorted(self._long)

    def __bool__(self) -> bool:
        return any(self._blocks) or bool(self._long)

    def __len__(self) -> int:
        return sum(map(bool, self._slots)) + len(self._long)

    def add(self, counts: MutableMapping[float, int]) -> None:
        """Add these counts."""
        slots, blocks = self._slots, self._blocks
        for ms, count in counts.items():
            if ms < _LIMIT:
                slot = _slot(ms)
                slots[slot] += count
                blocks[slot // _BLOCK] += count
            else:
                self._long[ms] = self._long.get(ms, 0) + count

    def percentile(self, total: int, share: float) -> float:
        """The percentile as Locust computes it, counting down from the slowest of ``total`` times; 0 without times."""
        allowed, seen = total - int(total * share), 0
        for ms in sorted(self._long, reverse=True):
            seen += self._long[ms]
            if seen >= allowed:
                return ms
        for block in reversed(range(len(self._blocks))):
            if self._blocks[block] and seen + self._blocks[block] >= allowed:
                return self._within(block, allowed - seen)
            seen += self._blocks[block]
        return 0.0

    def _within(self, block: int, wanted: int) -> float:
        slot = (block + 1) * _BLOCK
        while wanted > 0 or slot == (block + 1) * _BLOCK or not self._slots[slot]:
            slot -= 1
            wanted -= self._slots[slot]
        return _key(slot)


def _slot(ms: float) -> int:
    if ms < 100.0:
        return round(ms * 100)
    decade = 0 if ms < 1000.0 else 1 if ms < 10_000.0 else 2
    return _HUNDREDTHS + decade * _DECADE + round(ms / 10**decade) - 100


def _key(slot: int) -> float:
    if slot < _HUNDREDTHS:
        return slot / 100
    decade, above = divmod(slot - _HUNDREDTHS, _DECADE)
    return float((above + 100) * 10**decade)
