"""Ratios of two subjects that alternated in one run, and the targets that they should reach.

The targets were set before any run. Each ratio has an interval over the rounds. If the target lies in the interval, the
verdict says that it is not certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from chatsys.lab.experiments.common import BIG_ROOM, REFERENCE
from chatsys.lab.experiments.fairness import TAIL
from chatsys.lab.experiments.stress import CUT_OFF, OTHERS
from chatsys.lab.experiments.throughput import SERVER_CPU
from chatsys.lab.experiments.upkeep import BASELINE
from chatsys.lab.record import Point, RatioTarget, Result
from chatsys.lab.statistics import of_rounds, ratio_of_rounds
from chatsys.lab.workloads.operation import FIND_BY_ID, FIND_BY_NAME, RECENT
from chatsys.results.names import MISSED, REACHED, STORES, UPKEEP
from chatsys.results.run import Interval

_SQUARE = 4.5
"""For twice as many members: quadratic growth would be 4, cubic 8. The number of lists also depends on timing."""


class _Goal(NamedTuple):
    """A ratio to judge. ``bound`` is None if it has no target."""

    what: str
    bound: float | None
    at_least: bool = False


def reach(result: Result) -> list[RatioTarget]:
    """Every ratio of the run with its verdict."""
    return [*_baselines(result), *_realtime(result), *_upkeep(result)]


def _baselines(result: Result) -> Iterator[RatioTarget]:
    for name, what, bound in (
        (FIND_BY_ID, "Find a user by id, over bare asyncpg", 1.5),
        (FIND_BY_NAME, "Find a user by name, over bare asyncpg", 1.5),
        (RECENT, "Get 100 messages with receipts, over a bare SELECT of the same rows", 5),
    ):
        for baseline in result.baselines:
            if (baseline.operation, baseline.kind, baseline.store) == (name, "asyncpg", "postgresql"):
                rounds = int(result.parameters.get("rounds", 1))
                yield _judged(_Goal(what, bound), baseline.ratio, baseline.interval, rounds)


def _realtime(result: Result) -> Iterator[RatioTarget]:
    point = partial(_point, result)
    big = max((p.x for p in result.points if p.experiment == "fanout" and p.x <= BIG_ROOM), default=0)
    for store, name in STORES.items():
        goal = _Goal(f"Fan-out to {big:,.0f} members, {name} over {REFERENCE}", 3.5, at_least=True)
        yield from _ratio(goal, *(point("fanout", who, "deliveries/s", big) for who in (store, REFERENCE)))
    both = ("postgresql", "memory")
    goal = _Goal("Durable sends of 64 senders over Socket.IO, PostgreSQL over memory", 0.8, at_least=True)
    yield from _ratio(goal, *(point("senders", store, "messages/s", 64) for store in both))
    goal = _Goal("The server's processor time of such a send, PostgreSQL over memory", None)
    yield from _ratio(goal, *(point("senders", store, SERVER_CPU, 64) for store in both))
    goal = _Goal("Durable sends at store depth, group commit over one commit a message", 10, at_least=True)
    levels = ("PostgreSQL, group commit", "one commit a message")
    yield from _ratio(goal, *(point("durability", level, "messages/s") for level in levels))
    for store, name in STORES.items():
        goal = _Goal(f"Memory of an idle connection, {name} over {REFERENCE}", 0.7)
        yield from _ratio(goal, *(point("idle", who, "bytes a connection") for who in (store, REFERENCE)))
        goal = _Goal(f"A small room's p99 while a big room is busy, over its p99 alone, {name}", 3)
        yield from _ratio(goal, point("fairness", store, TAIL), point("fairness", store, TAIL, 0))
        goal = _Goal(f"The others' p99 beside a client that does not read, over that without one, {name}", 1.5)
        yield from _ratio(goal, *(point("slow reader", store, OTHERS, stuck) for stuck in (1, 0)))
        more = point("slow reader", store, CUT_OFF, 1)
        if more is not None:
            goal = _Goal(f"Server memory that such a client costs, over its byte budget, {name}", 1)
            yield _judged(goal, *of_rounds(more.rounds, geometric=False), len(more.rounds))
        goal = _Goal(f"Bytes sent when everybody joins, a room over one of half its size, {name}", _SQUARE)
        yield from _ratio(goal, *(point("storm", store, "bytes sent", x) for x in _ends(result, "storm")[::-1]))
    goal = _Goal("Durable sends of 64 senders, two workers over one", None, at_least=True)
    yield from _ratio(goal, *(point("workers", workers, "messages/s") for workers in ("two workers", "one worker")))


def _upkeep(result: Result) -> Iterator[RatioTarget]:
    for name, bare in UPKEEP.items():
        points = (_point(result, "upkeep", subject, "seconds") for subject in (name, f"{name}: {BASELINE}"))
        yield from _ratio(_Goal(f"{name.capitalize()}, over {bare}", None), *points)


def _point(result: Result, experiment: str, subject: str, metric: str, x: float | None = None) -> Point | None:
    """The point at ``x``, by default at the largest x; None if the run has none."""
    found = [p for p in result.points if (p.experiment, p.subject, p.metric) == (experiment, subject, metric)]
    if x is not None:
        found = [point for point in found if point.x == x]
    return max(found, key=lambda point: point.x, default=None)


def _ends(result: Result, experiment: str) -> Sequence[float]:
    xs = sorted({point.x for point in result.points if point.experiment == experiment})
    return (xs[0], xs[-1]) if xs else (0, 0)


def _ratio(goal: _Goal, above: Point | None, below: Point | None) -> Iterator[RatioTarget]:
    if above is not None and below is not None and min(below.rounds) > 0:
        value, interval = ratio_of_rounds(above.rounds, below.rounds)
        yield _judged(goal, value, interval, len(above.rounds), lower_bound=above.lower_bound)


def _judged(
    goal: _Goal, value: float, interval: Interval | None, rounds: int, *, lower_bound: bool = False
) -> RatioTarget:
    verdict = _verdict(goal, value, interval)
    return RatioTarget(
        **goal._asdict(), ratio=value, interval=interval, verdict=verdict, rounds=rounds, lower_bound=lower_bound
    )


def _verdict(goal: _Goal, value: float, interval: Interval | None) -> str:
    if goal.bound is None:
        return ""
    reached = value >= goal.bound if goal.at_least else value <= goal.bound
    certain = interval is not None and not interval.low < goal.bound < interval.high
    return (REACHED if reached else MISSED) + ("" if certain else ", not certain")
