"""What the connections of a server share: limits, the memory that they may take together, timers and turns."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chatsys.engine.memory import Memory
from chatsys.engine.scheduler import FairScheduler, Loop, SendQueue, Slices
from chatsys.engine.wheel import TimerWheel

ENDED_AT_ONCE = 50
"""Connections that end before the event loop does something else, however many are lost at once."""

STARTED_AT_ONCE = 64
"""Connections whose events begin to be handled in a turn of the event loop, however many speak at once."""


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may cost, and all together. Times in seconds, sizes in bytes.

    ``byte_budget`` is for what waits for one client alone, ``memory`` for all clients of the process.
    """

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    connect_within: float = 45.0
    unfinished_within: float = 30.0
    stalled_within: float = 30.0
    max_packet: int = 1_000_000
    frames_per_turn: int = 32
    fragments: int = 4096
    attachments: int = 10
    byte_budget: int = 2_097_152
    memory: int = 536_870_912


class Shared:
    """``count`` says how many connections there are."""

    def __init__(self, limits: ConnectionLimits, loop: Loop, count: Callable[[], int]) -> None:
        self.limits = limits
        self.loop = loop
        self.memory = Memory(limits.memory, count)
        self.wheel = TimerWheel(limits.ping_interval, limits.ping_timeout, loop)
        self.scheduler = FairScheduler(loop)
        self.lobby = SendQueue(self.scheduler)
        self.losses = Slices(loop, ENDED_AT_ONCE)
        self.starts = Slices(loop, STARTED_AT_ONCE)
