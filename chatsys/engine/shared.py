"""What the connections of a server share: limits, memory accounting, timers and the scheduler."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chatsys.engine.scheduler import FairScheduler, Loop, SendQueue, Slices
from chatsys.engine.wheel import TimerWheel

ENDED_AT_ONCE = 50
"""Maximum connections ended in one iteration of the event loop."""

STARTED_AT_ONCE = 64
"""Maximum connections for which event handling starts in one iteration of the event loop."""


_FEWEST = 16  # with fewer clients, each still gets only a sixteenth of the memory limit


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits for one connection and for all together. Times in seconds, sizes in bytes.

    ``byte_budget`` limits what waits for one client alone; ``memory`` limits what the process holds for all clients.
    """

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    connect_within: float = 45.0
    unfinished_within: float = 30.0
    stalled_within: float = 30.0
    max_packet: int = 1_000_000
    frames_per_iteration: int = 32
    fragments: int = 4096
    attachments: int = 10
    byte_budget: int = 2_097_152
    memory: int = 536_870_912


class Memory:
    """Counts the bytes of clients' unfinished messages and of packets that wait for a single client.

    Above ``limit``, a client that holds more than an equal share is disconnected. So the total stays below twice the
    limit, and only clients that hold much are affected.
    """

    def __init__(self, limit: int, holders: Callable[[], int]) -> None:
        self.limit = limit
        self.held = 0
        self._holders = holders

    def take(self, size: int) -> None:
        """Add ``size`` bytes, or subtract them if it is negative."""
        self.held += size

    def refuses(self, size: int) -> bool:
        """Whether a client that holds ``size`` bytes must be disconnected."""
        return self.held > self.limit and size > self.limit // max(_FEWEST, self._holders())


class Shared:
    """Created once for each engine. ``count`` returns the number of connections."""

    def __init__(self, limits: ConnectionLimits, loop: Loop, count: Callable[[], int]) -> None:
        self.limits = limits
        self.loop = loop
        self.memory = Memory(limits.memory, count)
        self.wheel = TimerWheel(limits.ping_interval, limits.ping_timeout, loop)
        self.scheduler = FairScheduler(loop)
        self.default_queue = SendQueue(self.scheduler)
        self.losses = Slices(loop, ENDED_AT_ONCE)
        self.starts = Slices(loop, STARTED_AT_ONCE)
