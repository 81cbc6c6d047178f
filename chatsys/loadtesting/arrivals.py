"""The open loop: messages begin when they are due, however slow the server is.

In Locust's closed loop a slow server slows its users down, and the wait that real people would have had is never
measured (coordinated omission). Here each send has an intended start time; the response time counts from it, the
service time from the real start, and both are reported. The rate is the number of users present over the interval.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import gevent

from chatsys.loadtesting.run import RUN
from chatsys.results.stamps import now

if TYPE_CHECKING:
    from chatsys.loadtesting.personas import ChatUser

KINDS = ("constant", "poisson")
IDLE = 0.1


def gap(kind: str, rate: float, rng: random.Random) -> float:
    """Seconds from one intended start to the next, at ``rate`` a second: constant, or exponential for ``poisson``."""
    return 1 / rate if kind == "constant" else rng.expovariate(rate)


def intended_starts(kind: str, rate: float) -> Iterator[float]:
    """When each send is due, in seconds of ``time.perf_counter``, without end, at ``rate`` a second.

    Raises ValueError for a rate that is not above 0 and an arrival that there is not.
    """
    if kind not in KINDS or not rate > 0:
        raise ValueError(f"{rate!r} a second, {kind!r}: the rate must be above 0, the arrival {' or '.join(KINDS)}")
    return _starts(kind, rate, random.Random())


def _starts(kind: str, rate: float, rng: random.Random) -> Iterator[float]:
    due = time.perf_counter()
    while True:
        due += gap(kind, rate, rng)
        yield due


def keep_sending(kind: str) -> None:
    """Send from the users of this process at their intended times, until killed."""
    rng = random.Random(f"{RUN.seed}/{RUN.worker}")
    due = now()
    while True:
        senders = len(RUN.present)
        if not senders:
            gevent.sleep(IDLE)
            due = now()
            continue
        due += round(gap(kind, senders / RUN.interval, rng) * 1e9)
        time.sleep(max(0.0, (due - now()) / 1e9))  # gevent's own sleep, once Locust has patched it
        sender = _somebody(rng)
        if sender is not None:
            sender.send_openly(due)


def _somebody(rng: random.Random) -> ChatUser | None:
    """A user who is connected, each persona as often as its weight for sending says."""
    most = max(type(user).persona.sends for user in RUN.present[:100])
    for _ in range(1000):
        user = rng.choice(RUN.present)
        if user.io.connected and user.in_room and rng.random() * most < user.persona.sends:
            return user
    return None
