"""The bytes that a process holds for its clients, and which client to disconnect when they exceed the limit."""

from __future__ import annotations

from collections.abc import Callable

_FEWEST = 16  # with fewer clients, each still gets only a sixteenth of the limit


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
