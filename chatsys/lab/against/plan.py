"""The operations that are compared, and how many calls a repetition of each makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from chatsys.lab.against import requests
from chatsys.lab.against.requests import Clients, Figures
from chatsys.lab.against.subject import RunOrder
from chatsys.lab.workloads.operation import FIND_BY_ID, FIND_BY_NAME, MARK_READ, RECENT, SEARCH, SEND, TABLE

CONNECTION = "Connection"
COUNTED_CALLS = (16, 64)
"""Calls in two repetitions, whose difference is the cost: what a repetition does besides its calls cancels out."""
_NAMES = {FIND_BY_ID: "find by id", FIND_BY_NAME: "find by name", RECENT: "100 messages", MARK_READ: "mark read",
          SEARCH: "search users", SEND: "send"}  # fmt: skip
COUNTED_OPERATIONS = {name: f"PostgreSQL: {_NAMES[name]}" for name in TABLE}
"""The operations whose statements, pages and WAL are counted, with their names in the record."""
_MEMORY, _POSTGRESQL = "memory", "postgresql"


class ComparisonPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much a comparison does.

    There are at least ``rounds`` and at most ``most`` rounds. After ``rounds``, another one starts only if fewer than
    ``seconds`` have passed and some operation can't yet detect a ratio of ``wanted``. Each round has
    ``repetitions`` on each side, ``scale`` times as long as in the quick profile. Their number is even: the side that
    comes first finds the caches full of another operation's data, so the sides alternate. ``names`` are prefixes of
    operations; empty means all.
    """

    name: str
    users: int
    messages: int
    rounds: int
    most: int
    seconds: float
    repetitions: int
    scale: int
    senders: int = 32
    members: int
    wanted: float = 1.2
    names: tuple[str, ...] = ()


PLANS = {
    plan.name: plan
    for plan in (
        ComparisonPlan(
            name="quick", users=400, messages=400, members=200,
            rounds=6, most=8, seconds=90, repetitions=4, scale=1,
        ),
        ComparisonPlan(
            name="standard", users=10_000, messages=20_000, members=500,
            rounds=16, most=24, seconds=1_200, repetitions=8, scale=2,
        ),
    )
}  # fmt: skip


class Work(NamedTuple):
    """An operation: its name in the record, and how it is performed on one side.

    ``perform`` takes the clients, the number of calls, the calls in a timed batch, and a seed. A repetition makes
    ``calls`` calls in batches of ``batch``. Instructions are counted over ``counted`` calls and over three times as
    many.
    """

    name: str
    perform: Callable[[Clients, int, int, int], Figures]
    calls: int
    batch: int
    counted: int
    store: str = ""
    """The store that the subject must have open; empty for an operation of the server."""
    answers: Callable[[Clients], int] = lambda _: 1
    """How many results one call counts as: a message to a room is as many deliveries as members."""

    def repeat(self, clients: Clients, seed: int) -> Figures:
        """The figures of one repetition."""
        return self.perform(clients, self.calls, self.batch, seed)


def works(plan: ComparisonPlan) -> list[Work]:
    """Everything that the plan compares, in the order of execution and display."""
    found = [_store(_MEMORY, name, calls * plan.scale, batch) for name, (calls, batch) in _IN_MEMORY.items()]
    found += [_store(_POSTGRESQL, name, calls * plan.scale, batch) for name, (calls, batch) in _IN_POSTGRESQL.items()]
    found.append(_store(_POSTGRESQL, SEND, 256 * plan.scale, 64, together=True))
    found += [work._replace(calls=work.calls * plan.scale) for work in _OF_THE_SERVER]
    return [work for work in found if work.name.startswith(plan.names or "")]


_IN_MEMORY = {FIND_BY_ID: (1024, 64), FIND_BY_NAME: (1024, 64), RECENT: (64, 8), SEARCH: (64, 8),
              MARK_READ: (512, 64), SEND: (512, 64)}  # fmt: skip
_IN_POSTGRESQL = {FIND_BY_ID: (64, 4), FIND_BY_NAME: (64, 4), RECENT: (24, 2), SEARCH: (48, 4),
                  MARK_READ: (48, 4), SEND: (48, 4)}  # fmt: skip
"""Calls in a repetition and in a batch."""
_OF_THE_SERVER = (
    Work("HTTP: health", requests.health, 48, 4, 4),
    Work("HTTP: find by id", requests.find_user, 40, 4, 4),
    Work("HTTP: 100 messages", requests.page, 16, 2, 1),
    Work("HTTP: search users", requests.search, 40, 4, 4),
    Work("Socket.IO: acknowledge", requests.acknowledged, 96, 8, 12),
    Work("Socket.IO: send and echo", requests.echo, 40, 4, 4),
    Work("Socket.IO: many senders", requests.senders, 256, 256, 32),
    Work("Socket.IO: fan-out", requests.fan_out, 24, 24, 3, answers=lambda clients: len(clients.audience)),
)


def _store(store: str, operation: str, calls: int, batch: int, *, together: bool = False) -> Work:
    def perform(clients: Clients, calls: int, batch: int, seed: int) -> Figures:
        order = RunOrder(operation=operation, calls=calls, batch=batch, seed=seed, together=together)
        ran = clients.running.subjects[store].run(order)
        return requests.medians(ran.wall, ran.cpu, batch)

    title = "PostgreSQL" if store == _POSTGRESQL else store
    name = f"{title}: {_NAMES[operation]}{f' x{batch}' if together else ''}"
    counted = 2 if operation == RECENT else 4 if operation == SEARCH or store == _POSTGRESQL else 16
    return Work(name, perform, calls, batch, batch if together else counted, store)
