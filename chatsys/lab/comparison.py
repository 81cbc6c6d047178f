"""What changed between two stored runs: counts are judged; times and ratios are shown and never judged.

Two runs of one commit differ in their times, and in ratios within them, by more than their intervals say: each run
starts its processes anew, on a machine that is never the same. Of 56 ordered pairs of 8 runs of one commit, a rule
by intervals and a factor called 24 "worse". Speed is compared by :mod:`chatsys.lab.against`, in one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from chatsys.lab.record import RatioTarget, Result

COUNT_FACTOR = 1.10
"""A count that grows by less than this factor is not worse: which pages of a table were read before moves it."""
_JUDGED = ("statements", "writing", "lost", "doubled", "swapped", "tables that differ")
"""Beginnings of the metrics that are judged. Bytes of WAL are not: images of whole pages, which a checkpoint decides
about, are most of them; nor is what many callers share, which depends on who came together."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in both runs. ``verdict`` is "not judged" for whatever noise touches."""

    what: str
    before: float
    after: float
    unit: str
    verdict: Literal["better", "worse", "same", "not judged"]


def compare(before: Result, after: Result) -> list[Change]:
    """Every count, ratio, baseline, target and time that both runs have."""
    return [*_counts(before, after), *_survivals(before, after), *_ratios(before, after), *_times(before, after)]


def failures(changes: list[Change]) -> list[Change]:
    """What ``--gate`` fails on."""
    return [change for change in changes if change.verdict == "worse"]


def differences(before: Result, after: Result) -> list[str]:
    """Why the two runs can't be compared: each a clause of a sentence; empty if they can."""
    found = []
    for name, old, new in (
        ("validity", _validity(before), _validity(after)),
        ("profile", before.profile, after.profile),
        ("data size", _size(before.parameters), _size(after.parameters)),
        ("machine", _machine(before.environment), _machine(after.environment)),
    ):
        if old != new:
            found.append(f"{name} ({old}; {new})")
    return found


def _validity(run: Result) -> str:
    return ("valid" if run.valid else "INVALID") + (", partial" if run.partial else "")


def _size(parameters: Mapping[str, Any]) -> str:
    return f"{parameters.get('users', '?')} users, {parameters.get('messages', '?')} messages"


def _machine(environment: Mapping[str, Any]) -> str:
    memory = environment.get("memory_bytes", 0) / 2**30
    return f"{environment.get('cpus', '?')} × {environment.get('cpu', '?')}, {memory:.0f} GiB"


def _counts(before: Result, after: Result) -> Iterator[Change]:
    old = {(count.subject, count.metric): count.value for count in before.counts}
    for count in after.counts:
        was = old.get((count.subject, count.metric))
        if was is not None:
            judged = count.metric.startswith(_JUDGED) and " x" not in count.subject
            yield Change(
                what=f"{count.subject}: {count.metric}",
                before=was,
                after=count.value,
                unit="",
                verdict=_verdict(was, count.value) if judged else "not judged",
            )


def _verdict(was: float, value: float) -> Literal["better", "worse", "same"]:
    if value > was * COUNT_FACTOR:
        return "worse"
    return "better" if value < was / COUNT_FACTOR else "same"


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
                verdict=_verdict(was, each.missing),
            )


def _ratios(before: Result, after: Result) -> Iterator[Change]:
    old = _known_ratios(before)
    for what, value in _known_ratios(after).items():
        if what in old:
            yield Change(what=what, before=old[what], after=value, unit="×", verdict="not judged")


def _known_ratios(result: Result) -> dict[str, float]:
    found = {f"{r.operation}, {r.depth}: PostgreSQL / memory": r.ratio for r in result.ratios}
    found |= {f"{f.operation}, {f.store} / {f.kind}": f.ratio for f in result.baselines}
    found |= {m.what: m.ratio for m in result.targets if m.interval is not None and not _is_baseline(m)}
    return found


def _is_baseline(target: RatioTarget) -> bool:
    """Whether it stands among the baselines already."""
    return "asyncpg" in target.what or "bare SELECT" in target.what


def _times(before: Result, after: Result) -> Iterator[Change]:
    old = {(o.operation, o.store, o.depth): o.p50_us for o in before.operations}
    for now in after.operations:
        was = old.get((now.operation, now.store, now.depth))
        if was is not None:
            what = f"{now.operation}, {now.depth}: {now.store} p50"
            yield Change(what=what, before=was, after=now.p50_us, unit="µs", verdict="not judged")
