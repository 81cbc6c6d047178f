"""What all users of this process share during a run."""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from chatsys.loadtesting.dialects import Chatsys, Dialect
from chatsys.loadtesting.scenarios import SCENARIOS, Scenario
from chatsys.loadtesting.validity import GeneratorWatch
from chatsys.loadtesting.weights import room_of, seat
from chatsys.results.ledger import MessageLedger

if TYPE_CHECKING:
    from chatsys.loadtesting.accounts import Accounts
    from chatsys.loadtesting.rest import Rest
    from chatsys.results.ledger import LedgerRoom

NEVER = 2**63


class Numbers:
    """Numbers from 0: the lowest that nobody has, so that who comes takes the place of who has gone."""

    def __init__(self) -> None:
        self._next = 0
        self._free: list[int] = []

    def take(self) -> int:
        """The lowest free number."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def release(self, number: int) -> None:
        """Somebody has gone."""
        heapq.heappush(self._free, number)


class GeneratorRun:
    """The state of a run in this process. ``measure_from`` is a monotonic time in ns; before it is warm-up.

    A ``hopeless`` run can't begin: its users end at once, and so does its shape.
    """

    def __init__(self) -> None:
        self.ledger = MessageLedger()
        self.watch = GeneratorWatch()
        self.dialect: Dialect = Chatsys()
        self.scenario: Scenario = SCENARIOS["steady"]
        self.rest: Rest
        self.accounts: Accounts
        self.host = ""
        self.users = 1
        self.interval = 20.0
        self.room_size = 20
        self.room_sizes = "zipf"
        self.receipts = 0.1
        self.open_loop = False
        self.seed = 1
        self.worker = (0, 1)
        self.begin()

    def begin(self) -> None:
        """Forget the run before."""
        self.measure_from = NEVER
        self.ending = False
        self.hopeless = False
        self.elsewhere = 0
        self.untimed: dict[str, int] = {}
        self.unhandled: dict[bytes, int] = {}
        self.present: list[Any] = []  # the users in a room
        self.lingering: list[Any] = []  # those that wait for what is under way to them
        self.pending: dict[str, LedgerRoom] = {}
        self.numbers = Numbers()
        self.of_persona: defaultdict[str, Numbers] = defaultdict(Numbers)

    def index_of(self, persona: str, nth: int) -> int:
        """The place of the ``nth`` user of a persona in this process among the users of all processes.

        Neighbours share a room, so personas are mixed in it however Locust orders its spawning.
        """
        own, workers = self.worker
        return seat(persona, nth) * workers + own

    def room_of(self, index: int) -> str:
        """The room of the user at this place among all."""
        return room_of(index, users=self.users, mean_size=self.room_size, sizes=self.room_sizes, seed=self.seed)

    def count(self, name: str) -> None:
        """Something was sent that nobody times."""
        self.untimed[name] = self.untimed.get(name, 0) + 1


RUN = GeneratorRun()
