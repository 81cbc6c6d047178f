"""How many users there are over time: one Locust shape, which follows ``--scenario``.

The run time counts from the end of the first spawning.
"""

from __future__ import annotations

import math
from collections import Counter
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
"""Seconds after a step before its dwell (the measured time) begins."""
DWELL = 10.0
SPAWN_RATE = 50.0
"""Users per second; the default of ``--spawn-rate``."""
PRECISION = 0.05
"""A capacity search ends when the bracket is this narrow, relative to its upper end, or the run time is over."""


class CapacityStep(msgspec.Struct):
    """What one dwell at a number of users showed. ``push_p99`` is in milliseconds, None if nothing was timed.

    ``outcome`` is one of chatsys.results.capacity. ``limit`` is what ran out first if the objective was not held.
    """

    users: int
    pushes: int
    push_p99: float | None
    failures: int
    deviations: int
    outcome: str
    limit: str = ""


class Search:
    """Searches the largest number of users that hold the objective, by doubling and then by bisection.

    It ends at a step that is not measurable: there, and nearby, the generator would measure itself.
    """

    def __init__(self, first: int, most: int) -> None:
        self.good = 0
        self.bad: int | None = None
        self._most = most
        self.users = min(first, most)
        self.steps: list[CapacityStep] = []

    def judge(self, step: CapacityStep) -> int | None:
        """Enter a dwell and return the next number of users, or None if the search has ended."""
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
    """Cumulative counts at one moment. The difference of two is a dwell."""

    histogram: dict[float, int]
    failures: int
    deviations: int
    stress: dict[str, int]


def is_push(key: tuple[str, str]) -> bool:
    """True if the row (name, method) has the response times of pushes."""
    name, method = key
    return method == PUSH and name != ALL_PUSHES and not name.endswith(SERVICE)


def pushes(entries: dict[tuple[str, str], StatsEntry]) -> dict[float, int]:
    """The histogram of all push response times of all personas."""
    merged: Counter[float] = Counter()
    for key, entry in entries.items():
        if is_push(key):
            merged.update(entry.response_times)
    return merged


def judged(users: int, before: DwellCounters, after: DwellCounters, objective: float) -> CapacityStep:
    """Judge a dwell. It holds if pushes arrived, their p99 is at most ``objective`` ms, and nothing failed.

    A deviation is always the server's fault. Any other fault may be the generator's own if that was saturated.
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
    """Follows ``--scenario``. The lifecycle sets ``counters`` and ``all_are_there``."""

    use_common_options = True
    counters: Callable[[], DwellCounters]
    all_are_there: Callable[[], bool]

    def __init__(self) -> None:
        super().__init__()
        self.search: Search | None = None
        self._began: float | None = None
        self._search_began: float | None = None
        self._before: DwellCounters | None = None
        self._target: tuple[int, float] | None = None

    def reset_time(self) -> None:
        """Reset the shape for a new run."""
        super().reset_time()
        self.search = self._began = self._search_began = self._before = self._target = None

    def tick(self) -> tuple[int, float] | None:
        """The target number of users now and the spawn rate, or None at the end."""
        if RUN.cannot_start:
            return None
        if RUN.ending and self._target is not None:
            return self._target
        options = self.runner.environment.parsed_options
        scenario, users = SCENARIOS[options.scenario], int(options.num_users or 1)
        rate = float(users) if scenario.at_once else float(options.spawn_rate or SPAWN_RATE)
        if self._began is None and self.runner.state == STATE_RUNNING and self.all_are_there():
            self._began = self.get_run_time()
        elapsed = 0.0 if self._began is None else self.get_run_time() - self._began
        if options.scenario == "capacity":
            target = self._capacity(users, elapsed, options.objective, float(options.run_time or 0) or math.inf)
        else:
            total = float(options.run_time or 0) or math.inf
            target = None if elapsed >= total else math.ceil(scenario.users(elapsed, users, total))
        self._target = None if target is None else (max(1, target), rate)
        return self._target

    def _capacity(self, most: int, elapsed: float, objective: float, budget: float) -> int | None:
        """The users of the current or the next step; None if the search has ended or ``budget`` seconds are over."""
        if self._search_began is None:
            self._search_began = self._began
        elif self.get_run_time() - self._search_began >= budget:
            return None
        if self.search is None:
            self.search = Search(max(1, most // 8), most)
        if self._before is None and elapsed >= SETTLE:
            self._before = self.counters()
        elif self._before is not None and elapsed >= SETTLE + DWELL:
            step = judged(self.search.users, self._before, self.counters(), objective)
            self._before = self._began = None
            return self.search.judge(step)
        return self.search.users
