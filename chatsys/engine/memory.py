"""What a process holds for all its clients together, in bytes, and whose turn it is to go when that is too much."""

from __future__ import annotations

from collections.abc import Callable

_FEWEST = 16


class Memory:
    """Counts what clients have sent and not finished, and what waits for one of them alone.

    Above ``limit`` a client that wants more than its equal share is refused; so the one who pays is one who holds
    much, and what is held in all stays below twice the limit.
    """

    def __init__(self, limit: int, holders: Callable[[], int]) -> None:
        self.limit = limit
        self.held = 0
        self._holders = holders

    def take(self, size: int) -> None:
        """So many bytes more are held; less, if negative."""
        self.held += size

    def refuses(self, size: int) -> bool:
        """Whether a client that holds ``size`` bytes must go."""
        return self.held > self.limit and size > self.limit // max(_FEWEST, self._holders())
