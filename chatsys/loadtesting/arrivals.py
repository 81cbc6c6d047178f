"""The open loop: messages begin when they are due, however slow the server is.

In Locust's closed loop a slow server slows its users down, and the wait that real people would have had is never
measured (coordinated omission). Here each send has an intended start time; the response time counts from it, the
service time from the real start, and both are reported. The rate is the number of users present over the interval.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import gevent

from chatsys.loadtesting.pace import gap
from chatsys.loadtesting.run import RUN
from chatsys.results.stamps import now

if TYPE_CHECKING:
    from chatsys.loadtesting.personas import ChatUser

IDLE = 0.1


def keep_sending(kind: str) -> None:
    """Send from the users of this process, or from its announcer, at their intended times, until killed."""
    rng = random.Random(f"{RUN.seed}/{RUN.worker}")
    due = now()
    while True:
        senders = len(RUN.present)
        if not senders:
            gevent.sleep(IDLE)
            due = now()
            continue
        rate = (1 if RUN.scenario.announcer else senders) / RUN.interval
        due += round(gap(kind, rate, rng) * 1e9)
        time.sleep(max(0.0, (due - now()) / 1e9))  # gevent's own sleep, once Locust has patched it
        sender = _first() if RUN.scenario.announcer else _somebody(rng)
        if sender is not None:
            sender.send_openly(due)


def _first() -> ChatUser | None:
    """The announcer: the first user who is connected."""
    return next((user for user in RUN.present if user.io.connected and user.in_room), None)


def _somebody(rng: random.Random) -> ChatUser | None:
    """A user who is connected, each persona as often as its weight for sending says."""
    most = max(type(user).persona.sends for user in RUN.present[:100])
    for _ in range(1000):
        user = rng.choice(RUN.present)
        if user.io.connected and user.in_room and rng.random() * most < user.persona.sends:
            return user
    return None
