"""How many rows of a long task one statement processes: as many as take about ten milliseconds on this database.

Such a statement locks its rows, and other writers wait for them. The time per row differs a hundredfold between
machines, disks and tables, so the size of the next part follows from the duration of the last one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

TARGET = 0.01
"""Seconds that a part should take. The promise is 0.05; on a busy machine, a part takes a few times its target."""

GROWTH = 1.5
"""A part is at most this many times as large as the one before it."""


class PartSize:
    """The number of rows of the next part, from ``least`` to ``most``. All tasks of one kind share it."""

    def __init__(self, least: int, first: int, most: int) -> None:
        self.rows = first
        self._least = least
        self._most = most

    @contextmanager
    def timed(self) -> Iterator[int]:
        """Process one part of the given number of rows in the block. Its duration decides the next size."""
        rows, began = self.rows, time.perf_counter()
        try:
            yield rows
        finally:
            self.learn(rows, time.perf_counter() - began)

    def learn(self, rows: int, seconds: float) -> None:
        """Choose the next size after a part of ``rows`` rows took ``seconds``."""
        fitting = rows * min(GROWTH, TARGET / max(seconds, 1e-6))
        self.rows = max(self._least, min(self._most, round(fitting)))
