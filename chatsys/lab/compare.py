"""What changed between two runs: ratios within each run and counts are compared, absolute times only shown.

Absolute times of two runs may differ because the machines do. A ratio within one run has both sides on the same
machine at the same time: it has changed if the two runs' intervals do not overlap and it differs by FACTOR.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from chatsys.lab.record import Mark, Result
from chatsys.lab.statistics import FACTOR, Interval

COUNT_FACTOR = 1.10
"""A cost counter that grows by less than this factor is not worse: a page split or a checkpoint moves it."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in both runs. ``certainty`` says in words why it is called what it is; ``gated`` if --gate looks."""

    what: str
    before: float
    after: float
    unit: str
    verdict: Literal["better", "worse", "same"]
    certainty: str
    gated: bool


def compare(before: Result, after: Result) -> list[Change]:
    """Every ratio, floor, mark, count and time that both runs have; smaller is better but in marks "at least"."""
    return [*_ratios(before, after), *_counts(before, after), *_survivals(before, after), *_times(before, after)]


def failures(changes: list[Change]) -> list[Change]:
    """What ``--gate`` fails on."""
    return [change for change in changes if change.gated and change.verdict == "worse"]


def _ratios(before: Result, after: Result) -> Iterator[Change]:
    old = _known_ratios(before)
    large = {mark.what for mark in after.marks if mark.at_least}
    for what, (value, interval) in _known_ratios(after).items():
        if what in old:
            was, bounds = old[what]
            apart = not bounds.overlaps(interval)
            more, less = apart and value > was * FACTOR, apart and value < was / FACTOR
            worse, better = (less, more) if what in large else (more, less)
            yield Change(
                what=what,
                before=was,
                after=value,
                unit="×",
                verdict="worse" if worse else "better" if better else "same",
                certainty="the 95 % intervals " + ("do not overlap" if apart else "overlap"),
                gated=True,
            )


def _known_ratios(result: Result) -> dict[str, tuple[float, Interval]]:
    found = {f"{r.operation}, {r.depth}: PostgreSQL / memory": (r.ratio, r.interval) for r in result.ratios}
    found |= {f"{f.operation}, {f.store} / {f.kind}": (f.ratio, f.interval) for f in result.floors}
    found |= {m.what: (m.ratio, m.interval) for m in result.marks if m.interval is not None and not _is_floor(m)}
    return found


def _is_floor(mark: Mark) -> bool:
    """Whether it stands among the floors already."""
    return "asyncpg" in mark.what or "bare SELECT" in mark.what


def _counts(before: Result, after: Result) -> Iterator[Change]:
    old = {(count.subject, count.metric): count.value for count in before.counts}
    for count in after.counts:
        was = old.get((count.subject, count.metric))
        if was is not None:
            worse, better = count.value > was * COUNT_FACTOR, count.value < was / COUNT_FACTOR
            gated = count.metric.startswith(("statements", "writing", "WAL", "lost", "doubled", "swapped", "tables"))
            yield Change(
                what=f"{count.subject}: {count.metric}",
                before=was,
                after=count.value,
                unit="",
                verdict="worse" if worse else "better" if better else "same",
                certainty="counted",
                gated=gated,
            )


def _survivals(before: Result, after: Result) -> Iterator[Change]:
    old = {(each.store, each.killed): each.missing for each in before.persistence}
    for each in after.persistence:
        was = old.get((each.store, each.killed))
        if was is not None and each.store == "postgresql":
            yield Change(
                what=f"acknowledged messages missing on {each.store} after a kill of the {each.killed}",
                before=was,
                after=each.missing,
                unit="",
                verdict="worse" if each.missing > was else "better" if each.missing < was else "same",
                certainty="counted",
                gated=True,
            )


def _times(before: Result, after: Result) -> Iterator[Change]:
    old = {(o.operation, o.store, o.depth): o for o in before.operations}
    for now in after.operations:
        was = old.get((now.operation, now.store, now.depth))
        if was is not None:
            apart = not was.interval.overlaps(now.interval)
            worse, better = apart and now.p50_us > was.p50_us * FACTOR, apart and now.p50_us < was.p50_us / FACTOR
            yield Change(
                what=f"{now.operation}, {now.depth}: {now.store} p50",
                before=was.p50_us,
                after=now.p50_us,
                unit="µs",
                verdict="worse" if worse else "better" if better else "same",
                certainty="absolute times, never gated",
                gated=False,
            )
