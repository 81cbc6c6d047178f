"""What a load test plays: how many users there are at each moment, in which rooms, and who of them writes."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

Plan = Callable[[float, int, float], float]
"""Users wanted ``t`` seconds after the first are there, of ``users`` in all and for ``total`` seconds."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario; docs/LOADTESTING.md says which question each answers.

    ``rooms`` is the mean size of rooms and how users are spread over them (weights.SIZES), in place of the options.
    ``without`` are activities of weights.py that nobody does. With an ``announcer`` one user writes, each
    ``--interval``. Those who arrive ``at_once`` do so within a second. Where ``restarts`` belong to it, a lost
    connection is no failure.
    """

    users: Plan = lambda t, users, total: users
    rooms: tuple[int, str] | None = None
    without: frozenset[str] = frozenset()
    announcer: bool = False
    at_once: bool = False
    logs_in: bool = False
    restarts: bool = False


_ONE_ROOM = (1, "one")
_STAY = frozenset({"change_room"})

SCENARIOS = {
    "steady": Scenario(),
    "ramp": Scenario(users=lambda t, users, total: users * t / total),
    "step": Scenario(users=lambda t, users, total: users * math.ceil(5 * t / total) / 5),
    "spike": Scenario(users=lambda t, users, total: users if 0.4 <= t / total < 0.6 else users / 5),
    "soak": Scenario(),
    "storm": Scenario(logs_in=True),
    "direct": Scenario(rooms=(2, "equal"), without=_STAY),
    "many-to-one": Scenario(rooms=_ONE_ROOM, without=_STAY),
    "announcements": Scenario(rooms=_ONE_ROOM, without=_STAY | {"send", "typing"}, announcer=True),
    "flash-crowd": Scenario(
        users=lambda t, users, total: users if 0.25 <= t / total < 0.75 else users / 10,
        rooms=_ONE_ROOM,
        without=_STAY,
        at_once=True,
    ),
    "rolling-restart": Scenario(restarts=True),
    "capacity": Scenario(),
}
