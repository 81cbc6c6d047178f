"""How many users there are at each moment: one Locust shape, which follows ``--scenario``.

Seconds and users below are for ``--users`` U and ``--run-time`` T (from the end of the first spawning on).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
from locust import LoadTestShape
from locust.runners import STATE_RUNNING
from locust.stats import StatsEntry, calculate_response_time_percentile, diff_response_time_dicts

from chatsys.loadtesting.figures import ALL_PUSHES, PUSH, SERVICE
from chatsys.loadtesting.run import RUN
from chatsys.loadtesting.scenarios import SCENARIOS
from chatsys.loadtesting.validity import saturated
from chatsys.results.capacity import ERRORS, FAILED, GENERATOR, HELD, LATENCY, NOT_MEASURABLE

SETTLE = 5.0
"""Seconds after a step before its dwell is measured."""
DWELL = 10.0
SPAWN_RATE = 50.0
"""Users a second, unless ``--spawn-rate`` says otherwise."""
PRECISION = 0.05
"""A capacity search ends when the bracket is this narrow, or the run time is over."""


class CapacityStep(msgspec.Struct):
    """What a dwell at one number of users showed. ``push_p99`` in milliseconds, None if nothing was timed.

    ``outcome`` is one of chatsys.results.capacity, ``limit`` what ran out first where the objective was not held.
    """

    users: int
    pushes: int
    push_p99: float | None
    failures: int
    deviations: int
    outcome: str
    limit: str = ""


class Search:
    """Doubling, then bisection, for the largest number of users at which the objective is held.

    It ends where a step is not measurable: the generator would measure itself at that number and near it.
    """

    def __init__(self, first: int, most: int) -> None:
        self.good = 0
        self.bad: int | None = None
        self._most = most
        self.users = min(first, most)
        self.steps: list[CapacityStep] = []

    def judge(self, step: CapacityStep) -> int | None:
        """Enter a dwell; the next number of users, or None when the search has ended."""
        self.steps.append(step)
        if step.outcome == NOT_MEASURABLE:
            return None
        if step.outcome == HELD:
            self.good = max(self.good, step.users)
        else:
            self.bad = step.users if self.bad is None else min(self.bad, step.users)
        following = min(self.good * 2, self._most) if self.bad is None else (self.good + self.bad) // 2
        narrow = self.bad is not None and self.bad - self.good <= max(1, PRECISION * self.bad)
        if narrow or following in {self.good, 0}:
            return None
        self.users = following
        return following


class DwellCounters(msgspec.Struct):
    """Cumulated counts at one moment, of which two give a dwell."""

    histogram: dict[float, int]
    failures: int
    deviations: int
    stress: dict[str, int]


def is_push(key: tuple[str, str]) -> bool:
    """True for the (name, method) of response times of pushes."""
    name, method = key
    return method == PUSH and name != ALL_PUSHES and not name.endswith(SERVICE)


def pushes(entries: dict[tuple[str, str], StatsEntry]) -> dict[float, int]:
    """The histogram of all push response times, over all personas."""
    together: dict[float, int] = {}
    for key, entry in entries.items():
        if is_push(key):
            for ms, count in entry.response_times.items():
                together[ms] = together.get(ms, 0) + count
    return together


def judged(users: int, before: DwellCounters, after: DwellCounters, objective: float) -> CapacityStep:
    """A dwell: the objective is held if pushes came, their p99 is at most ``objective`` ms, and nothing went wrong.

    A deviation is the server's whatever the generator does; anything else that a saturated one sees may be its own.
    """
    histogram = diff_response_time_dicts(after.histogram, before.histogram)
    n = sum(histogram.values())
    p99 = calculate_response_time_percentile(histogram, n, 0.99) if n else None
    failures, deviations = after.failures - before.failures, after.deviations - before.deviations
    if deviations:
        outcome, limit = FAILED, ERRORS
    elif saturated(before.stress, after.stress):
        outcome, limit = NOT_MEASURABLE, GENERATOR
    elif failures:
        outcome, limit = FAILED, ERRORS
    else:
        held = p99 is not None and p99 <= objective
        outcome, limit = (HELD, "") if held else (FAILED, LATENCY)
    return CapacityStep(users, n, p99, failures, deviations, outcome, limit)


class ScenarioShape(LoadTestShape):
    """Follows ``--scenario``; ``counters`` and ``all_are_there`` are set by the lifecycle."""

    use_common_options = True
    counters: Callable[[], DwellCounters]
    all_are_there: Callable[[], bool]

    def __init__(self) -> None:
        super().__init__()
        self.search: Search | None = None
        self._since: float | None = None
        self._searching: float | None = None
        self._before: DwellCounters | None = None
        self._wanted: tuple[int, float] | None = None

    def reset_time(self) -> None:
        """A new run begins."""
        super().reset_time()
        self.search = self._since = self._searching = self._before = self._wanted = None

    def tick(self) -> tuple[int, float] | None:
        """Users wanted now and the spawn rate, or None at the end."""
        if RUN.hopeless:
            return None
        if RUN.ending and self._wanted is not None:
            return self._wanted
        options = self.runner.environment.parsed_options
        scenario, users = SCENARIOS[options.scenario], int(options.num_users or 1)
        rate = float(users) if scenario.at_once else float(options.spawn_rate or SPAWN_RATE)
        if self._since is None and self.runner.state == STATE_RUNNING and self.all_are_there():
            self._since = self.get_run_time()
        elapsed = 0.0 if self._since is None else self.get_run_time() - self._since
        if options.scenario == "capacity":
            wanted = self._capacity(users, elapsed, options.objective, float(options.run_time or 0) or math.inf)
        else:
            total = float(options.run_time or 0) or math.inf
            wanted = None if elapsed >= total else math.ceil(scenario.users(elapsed, users, total))
        self._wanted = None if wanted is None else (max(1, wanted), rate)
        return self._wanted

    def _capacity(self, most: int, elapsed: float, objective: float, budget: float) -> int | None:
        """The users of the step under way, or of the next one; None when found, or after ``budget`` seconds."""
        if self._searching is None:
            self._searching = self._since
        elif self.get_run_time() - self._searching >= budget:
            return None
        if self.search is None:
            self.search = Search(max(1, most // 8), most)
        if self._before is None and elapsed >= SETTLE:
            self._before = self.counters()
        elif self._before is not None and elapsed >= SETTLE + DWELL:
            step = judged(self.search.users, self._before, self.counters(), objective)
            self._before = self._since = None
            return self.search.judge(step)
        return self.search.users
