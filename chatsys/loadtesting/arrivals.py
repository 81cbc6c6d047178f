"""The open loop: each message is sent when it is due, even if the server is slow.

In Locust's closed loop a slow server slows its users down, so the wait of real people is never measured (coordinated
omission). Here each send has an intended start time. The response time counts from the intended start, the service time
from the actual start, and both are reported. The rate is the number of connected users divided by the interval.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import gevent

from chatsys.loadtesting.run import RUN
from chatsys.loadtesting.socketio_user import gap
from chatsys.results.stamps import now

if TYPE_CHECKING:
    from chatsys.loadtesting.personas import ChatUser

IDLE_SLEEP = 0.1


def keep_sending(kind: str) -> None:
    """Send at the intended times, from the users of this process or from its announcer, until killed."""
    rng = random.Random(f"{RUN.seed}/{RUN.worker}")
    due = now()
    while True:
        senders = len(RUN.present)
        if not senders:
            gevent.sleep(IDLE_SLEEP)
            due = now()
            continue
        rate = (1 if RUN.scenario.announcer else senders) / RUN.interval
        due += round(gap(kind, rate, rng) * 1e9)
        time.sleep(max(0.0, (due - now()) / 1e9))  # gevent's sleep: Locust has patched it
        sender = _announcer() if RUN.scenario.announcer else _random_sender(rng)
        if sender is not None:
            sender.send_openly(due)


def _announcer() -> ChatUser | None:
    """The announcer: the first user who is connected."""
    return next((user for user in RUN.present if user.io.connected and user.in_room), None)


def _random_sender(rng: random.Random) -> ChatUser | None:
    """A connected user, chosen at random: each persona in proportion to its sending factor."""
    highest = max(type(user).persona.sends for user in RUN.present[:100])
    for _ in range(1000):
        user = rng.choice(RUN.present)
        if user.io.connected and user.in_room and rng.random() * highest < user.persona.sends:
            return user
    return None
