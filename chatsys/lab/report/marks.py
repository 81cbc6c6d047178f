"""The marks that real time is measured by: ratios of two things in one run, and what they should reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chatsys.lab.record import Result

_STOCK = "stock python-socketio"
Value = Callable[[Result], float | None]


class Mark(NamedTuple):
    """``above`` / ``below`` should be at least, or at most, ``bound``."""

    what: str
    above: Value
    below: Value
    bound: float
    at_least: bool


def _point(experiment: str, subject: str, metric: str, x: float | None = None) -> Value:
    """A point's value: at ``x``, or at the largest x there is."""

    def value(result: Result) -> float | None:
        found = [p for p in result.points if (p.experiment, p.subject, p.metric) == (experiment, subject, metric)]
        if x is not None:
            found = [point for point in found if point.x == x]
        return max(found, key=lambda point: point.x).value if found else None

    return value


def _floor(operation: str) -> tuple[Value, Value]:
    """PostgreSQL's store call and its bare floor."""

    def above(result: Result) -> float | None:
        return next((f.ratio for f in result.floors if (f.operation, f.kind) == (operation, "asyncpg")), None)

    return above, lambda _: 1.0


_TAIL = "p99 of a small room"
_OTHERS = "p99 of the others"

MARKS = (
    Mark("find_user_by_id over its floor", *_floor("find_user_by_id"), 1.5, at_least=False),
    Mark("find_user_by_name over its floor", *_floor("find_user_by_name"), 1.5, at_least=False),
    Mark("recent_messages, with receipts, over a bare SELECT of the same rows", *_floor("recent_messages"), 5,
         at_least=False),
    Mark("Fan-out to the largest room, memory store over stock python-socketio",
         _point("fanout", "memory", "deliveries/s"), _point("fanout", _STOCK, "deliveries/s"), 3.5, at_least=True),
    Mark("Fan-out to the largest room, PostgreSQL over stock python-socketio",
         _point("fanout", "postgresql", "deliveries/s"), _point("fanout", _STOCK, "deliveries/s"), 3.5, at_least=True),
    Mark("Durable sends of 64 senders over Socket.IO, PostgreSQL over memory",
         _point("senders", "postgresql", "messages/s", 64), _point("senders", "memory", "messages/s", 64), 0.8,
         at_least=True),
    Mark("Durable sends at store depth, group commit over one commit a message",
         _point("durability", "PostgreSQL, group commit", "messages/s"),
         _point("durability", "one commit a message", "messages/s"), 10, at_least=True),
    Mark("Memory of an idle connection, memory store over stock python-socketio",
         _point("idle", "memory", "bytes a connection"), _point("idle", _STOCK, "bytes a connection"), 0.7,
         at_least=False),
    Mark("Memory of an idle connection, PostgreSQL over stock python-socketio",
         _point("idle", "postgresql", "bytes a connection"), _point("idle", _STOCK, "bytes a connection"), 0.7,
         at_least=False),
    Mark("A small room's p99 while a big room is busy, PostgreSQL",
         _point("fairness", "postgresql", _TAIL), _point("fairness", "postgresql", _TAIL, 0), 3, at_least=False),
    Mark("The others' p99 beside a client that does not read, PostgreSQL",
         _point("slow reader", "postgresql", _OTHERS, 1), _point("slow reader", "postgresql", _OTHERS, 0), 1.5,
         at_least=False),
)  # fmt: skip
