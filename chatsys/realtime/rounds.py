"""Who writes when: connections with something to send wait in lanes, one for each room, and the lanes take turns.

An event for a room is only put into each member's list, which costs a fraction of a microsecond; the writing, which
costs a system call each, happens here, in slices with the rest of the event loop between. So a message to a big room
delays each step of a small room's (read, stored, written) by one slice at most, several events for one socket leave in
one write, and what one socket gets stays in order, since it waits in one list.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from chatsys import metrics

SLICE = 16
"""How many connections are written to before the event loop does something else."""

SHARE = 4
"""How many of them may belong to one room while other rooms wait."""


class Writer(Protocol):
    """A connection that has something to send."""

    def flush(self) -> int:
        """Write what waits; how many events that were."""


class Lane:
    """The writers of one room, in order of their first event since they last wrote."""

    __slots__ = ("_rounds", "writers")

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self.writers: deque[Writer] = deque()

    def add(self, writer: Writer) -> None:
        """Let ``writer`` flush when it is this lane's turn."""
        if not self.writers:
            self._rounds.enter(self)
        self.writers.append(writer)


class Rounds:
    """The lanes that have writers, taking turns."""

    def __init__(self) -> None:
        self._lanes: deque[Lane] = deque()
        self._scheduled = False

    def enter(self, lane: Lane) -> None:
        """A lane has got its first writer."""
        self._lanes.append(lane)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        left, written = SLICE, 0
        while self._lanes and left > 0:
            lane = self._lanes.popleft()
            writers = lane.writers
            share = min(len(writers), SHARE, left)
            for _ in range(share):
                written += writers.popleft().flush()
            left -= share
            if writers:
                self._lanes.append(lane)
        metrics.deliveries.inc(written)
        if self._lanes:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._scheduled = False
