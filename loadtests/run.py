"""What all users of this process share during a run."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from loadtests.ledger import Ledger
from loadtests.validity import Watch

if TYPE_CHECKING:
    from loadtests.accounts import Accounts
    from loadtests.ledger import Room
    from loadtests.personas import ChatUser
    from loadtests.rest import Rest

NEVER = 2**63


class Run:
    """The state of a run in this process. ``measure_from`` is a monotonic time in ns; before it is warm-up."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.watch = Watch()
        self.rest: Rest
        self.accounts: Accounts
        self.host = ""
        self.users = 1
        self.interval = 20.0
        self.room_size = 20
        self.room_sizes = "zipf"
        self.receipts = 0.1
        self.open_loop = False
        self.storm = False
        self.seed = 1
        self.worker = (0, 1)
        self.begin()

    def begin(self) -> None:
        """Forget the run before."""
        self.measure_from = NEVER
        self.ending = False
        self.elsewhere = 0
        self.untimed: dict[str, int] = {}
        self.present: list[ChatUser] = []
        self.lingering: list[ChatUser] = []
        self.pending: dict[str, Room] = {}
        self._numbers = 0
        self._free: list[int] = []

    def take_number(self) -> int:
        """The lowest number that no user of this process has, from 0."""
        if self._free:
            return heapq.heappop(self._free)
        self._numbers += 1
        return self._numbers - 1

    def release_number(self, number: int) -> None:
        """The user of that number has gone: the next one takes its place, so that rooms stay full."""
        heapq.heappush(self._free, number)

    def index_of(self, number: int) -> int:
        """A user's number among all processes of the run, without gaps."""
        own, workers = self.worker
        return number * workers + own

    def count(self, name: str) -> None:
        """Something was sent that nobody times."""
        self.untimed[name] = self.untimed.get(name, 0) + 1


RUN = Run()
