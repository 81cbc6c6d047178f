"""How much of a long work one statement does: as much as takes about ten milliseconds on this database.

Rows are locked while such a statement runs, and others wait for them. How long a row takes differs a hundredfold
between machines, disks and tables, so the size follows from how long the last parts took.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

TARGET = 0.01
"""Seconds that a part should take. 0.05 is promised; on a busy machine one takes a few times what it should."""

GROWTH = 1.5
"""How much more than the last one a part takes at most."""


class PartSize:
    """Rows of the next part: between ``least`` and ``most``. Shared by all works of one kind."""

    def __init__(self, least: int, first: int, most: int) -> None:
        self.rows = first
        self._least = least
        self._most = most

    @contextmanager
    def timed(self) -> Iterator[int]:
        """Do one part, of the given number of rows, in the block."""
        rows, began = self.rows, time.perf_counter()
        try:
            yield rows
        finally:
            self.learn(rows, time.perf_counter() - began)

    def learn(self, rows: int, seconds: float) -> None:
        """A part of so many rows took so long."""
        fitting = rows * min(GROWTH, TARGET / max(seconds, 1e-6))
        self.rows = max(self._least, min(self._most, round(fitting)))
