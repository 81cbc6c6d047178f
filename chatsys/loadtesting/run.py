"""What all users of this process share during a run."""

from __future__ import annotations

import heapq
import itertools
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
    """Hands out the lowest free number from 0, so that a new user gets the number of one that has left."""

    def __init__(self) -> None:
        self._unused = itertools.count()
        self._free: list[int] = []

    def take(self) -> int:
        """The lowest free number."""
        return heapq.heappop(self._free) if self._free else next(self._unused)

    def release(self, number: int) -> None:
        """Make a number free again."""
        heapq.heappush(self._free, number)


class GeneratorRun:
    """The state of a run in this process. ``measure_from`` is a monotonic time in ns, the end of the warm-up.

    A run that ``cannot_start`` ends its users and its shape at once.
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
        """Reset the state for a new run."""
        self.measure_from = NEVER
        self.ending = False
        self.cannot_start = False
        self.elsewhere = 0
        self.untimed: dict[str, int] = {}
        self.unhandled: dict[bytes, int] = {}
        self.present: list[Any] = []  # the users in a room
        self.lingering: list[Any] = []  # stopped users that stay connected for messages in flight
        self.pending: dict[str, LedgerRoom] = {}
        self.numbers = Numbers()
        self.of_persona: defaultdict[str, Numbers] = defaultdict(Numbers)

    def index_of(self, persona: str, nth: int) -> int:
        """The index of the ``nth`` user of a persona in this process among the users of all processes.

        Users with neighbouring indexes share a room, so each room has mixed personas whatever order Locust spawns in.
        """
        own, workers = self.worker
        return seat(persona, nth) * workers + own

    def room_of(self, index: int) -> str:
        """The room of the user with this index."""
        return room_of(index, users=self.users, mean_size=self.room_size, sizes=self.room_sizes, seed=self.seed)

    def count(self, name: str) -> None:
        """Count an event that was sent and is not timed."""
        self.untimed[name] = self.untimed.get(name, 0) + 1


RUN = GeneratorRun()
