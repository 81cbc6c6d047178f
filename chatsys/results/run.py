"""The record of a benchmark run: ``result.json`` is one :class:`Result` as JSON.

Times are microseconds unless a name or a unit says otherwise.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chatsys.results.upgrades import SCHEMA_VERSION

RESULT, SAMPLES, DISTRIBUTIONS = "result.json", "samples.parquet", "distributions.parquet"


class Interval(msgspec.Struct, frozen=True):
    """The bounds of a 95 % confidence interval."""

    low: float
    high: float


class OperationResult(msgspec.Struct, frozen=True, kw_only=True):
    """One operation on one store (``memory`` or ``postgresql``) at one depth. Times in microseconds.

    The depth is ``store`` (a call of the store), ``http`` (a request) or ``socket`` (an event and its acknowledgement).
    `` x64`` is added if 64 of them ran at a time. ``interval`` is that of the median. ``users`` and ``messages`` are
    the numbers in the store; older records lack them.
    """

    operation: str
    store: str
    depth: str
    n: int
    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float
    interval: Interval
    users: int | None = None
    messages: int | None = None


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The same work without chatsys. ``ratio`` is the time of chatsys divided by that of the baseline."""

    operation: str
    store: str
    kind: str
    p50_us: float
    ratio: float
    interval: Interval


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """PostgreSQL's median divided by memory's in this run, and the verdict of the rank test on PostgreSQL."""

    operation: str
    depth: str
    ratio: float
    interval: Interval
    verdict: str
    p: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value of a curve: ``metric`` of ``subject`` at ``x`` is ``value``. The experiment defines ``x``.

    ``rounds`` are the values of the rounds if there are several. ``lower_bound`` is true if the load generator was
    saturated, so the subject may be able to do more.
    """

    experiment: str
    subject: str
    x: float
    metric: str
    value: float
    unit: str
    interval: Interval | None = None
    n: int = 1
    rounds: tuple[float, ...] = ()
    lower_bound: bool = False


class RatioTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio of two subjects that alternated in this run, and its target ``bound``, if there is one.

    ``at_least`` is true if the ratio must be at least the bound, false if at most. ``interval`` is None if there was
    only one round. ``lower_bound`` is true if the real ratio may be higher.
    """

    what: str
    ratio: float
    interval: Interval | None
    bound: float | None
    at_least: bool
    verdict: str
    rounds: int
    lower_bound: bool = False


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The wall time of one part of the run."""

    what: str
    seconds: float


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How an operation's median grows with size: the exponent, its interval, and the sizes measured."""

    operation: str
    store: str
    exponent: float
    interval: Interval
    sizes: tuple[int, ...]


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """A count, which noise does not affect: ``metric`` of ``subject`` (an operation or a scenario) is ``value``."""

    subject: str
    metric: str
    value: float


class StatementPlan(msgspec.Struct, frozen=True, kw_only=True):
    """EXPLAIN (ANALYZE, BUFFERS) of a production statement at a size."""

    statement: str
    size: int
    lines: tuple[str, ...]


class Survival(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a kill in mid-traffic: how many messages were acknowledged, and how many of these are missing."""

    store: str
    killed: str
    acknowledged: int
    missing: int


class ClaimPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a promise: its outcome in words, and whether it was kept."""

    words: str
    kept: bool


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A promise of the guide, the rule that judged it, what was measured, and the verdict over all ``parts``.

    ``guide`` and ``brief`` are the guide's figures and the measured ones for a table, memory → PostgreSQL.
    """

    claim: str
    promise: str
    rule: str
    measured: str
    verdict: str
    samples: str
    title: str = ""
    guide: str = ""
    brief: str = ""
    parts: tuple[ClaimPart, ...] = ()


class Result(msgspec.Struct, kw_only=True):
    """One run of the benchmark."""

    id: str
    created_at: str
    profile: str
    seed: int
    environment: dict[str, Any]
    parameters: dict[str, Any]
    schema_version: int = SCHEMA_VERSION
    finished_at: str | None = None
    partial: bool = False
    valid: bool = True
    reasons: list[str] = []
    operations: list[OperationResult] = []
    ratios: list[Ratio] = []
    baselines: list[Baseline] = []
    targets: list[RatioTarget] = []
    points: list[Point] = []
    fits: list[Fit] = []
    counts: list[Count] = []
    plans: list[StatementPlan] = []
    persistence: list[Survival] = []
    claims: list[Judgement] = []
    timings: list[Timing] = []
    limitations: list[str] = []

    def limited(self, sentence: str) -> None:
        """Add a limitation: something that the run does not show."""
        if sentence not in self.limitations:
            self.limitations.append(sentence)

    def invalid(self, reason: str) -> None:
        """Mark the run as invalid, with the reason."""
        self.valid = False
        if reason not in self.reasons:
            self.reasons.append(reason)


def of_peers(result: Result) -> bool:
    """Whether a run compared chatsys with other servers, and not its stores with each other."""
    return not result.operations and any(point.experiment == "peers" for point in result.points)


def operation(result: Result, name: str, store: str, depth: str) -> OperationResult | None:
    """The result of an operation on a store at a depth; None if it was not measured."""
    return next((o for o in result.operations if (o.operation, o.store, o.depth) == (name, store, depth)), None)


def points(result: Result, experiment: str, metric: str, subject: str | None = None) -> list[Point]:
    """The points of a curve in their recorded order, of one ``subject`` or of all."""
    return [
        p for p in result.points if (p.experiment, p.metric) == (experiment, metric) and subject in (None, p.subject)
    ]


def held(result: Result, each: OperationResult) -> str:
    """What the store held while ``each`` was measured: ``100,000 users and 500,000 messages``."""
    users, messages = each.users, each.messages
    if users is None or messages is None:  # an older record
        if not each.depth.startswith("store"):
            return "a small chat"
        users, messages = result.parameters.get("users"), result.parameters.get("messages")
    return "a small chat" if users is None or messages is None else f"{users:,} users and {messages:,} messages"
