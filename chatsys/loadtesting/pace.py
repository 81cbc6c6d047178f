"""When the events of an open loop are due."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

KINDS = ("constant", "poisson")


def gap(kind: str, rate: float, rng: random.Random) -> float:
    """Seconds until the next intended start, at ``rate`` per second: constant, or exponential for ``poisson``."""
    return 1 / rate if kind == "constant" else rng.expovariate(rate)


def intended_starts(kind: str, rate: float) -> Iterator[float]:
    """An endless series of due times in seconds of ``time.perf_counter``, at ``rate`` per second.

    Raises ValueError if the rate is not above 0 or ``kind`` is not in ``KINDS``.
    """
    if kind not in KINDS or not rate > 0:
        raise ValueError(f"{rate!r} a second, {kind!r}: the rate must be above 0, the arrival {' or '.join(KINDS)}")
    return _starts(kind, rate, random.Random())


def _starts(kind: str, rate: float, rng: random.Random) -> Iterator[float]:
    due = time.perf_counter()
    while True:
        due += gap(kind, rate, rng)
        yield due
