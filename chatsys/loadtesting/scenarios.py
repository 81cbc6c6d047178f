"""The scenarios of a load test: how many users there are over time, in which rooms, and which of them write."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

Plan = Callable[[float, int, float], float]
"""``plan(t, users, total)``: the target number of users after ``t`` of ``total`` seconds, with ``users`` at most."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario; docs/LOADTESTING.md says which question each answers.

    ``rooms`` is the mean room size and the distribution of users (weights.SIZES), and overrides the options.
    ``without`` are activities of weights.py that are left out. With ``announcer``, one user writes a message every
    ``--interval`` seconds. With ``at_once``, all users arrive within a second. With ``logs_in``, each user logs in with
    its password first. With ``restarts``, a lost connection is not a failure.
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
