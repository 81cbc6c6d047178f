"""What changed between two stored runs. Counts are judged; times and ratios are only shown.

The times and ratios of two runs of one commit differ by more than their intervals say, because each run starts new
processes and the state of a machine changes. A rule with intervals and a factor called 24 of 56 ordered pairs of runs
of one commit "worse". :mod:`chatsys.lab.against` compares speed, in one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from chatsys.lab.record import RatioTarget, Result

COUNT_FACTOR = 1.10
"""A count that grows by less than this factor is not worse: it depends on which pages were read before."""
_JUDGED = ("statements", "writing", "lost", "doubled", "swapped", "tables that differ")
"""Prefixes of the metrics that are judged. WAL bytes are not: most of them are images of whole pages, which depend on
checkpoints. Counts of concurrent callers are not: they depend on which calls met in one transaction."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that both runs have. ``verdict`` is "not judged" for figures with noise."""

    what: str
    before: float
    after: float
    unit: str
    verdict: Literal["better", "worse", "same", "not judged"]


def compare(before: Result, after: Result) -> list[Change]:
    """Every count, ratio, baseline, target and time that both runs have."""
    return [*_counts(before, after), *_survivals(before, after), *_ratios(before, after), *_times(before, after)]


def failures(changes: list[Change]) -> list[Change]:
    """The changes that make ``--gate`` fail."""
    return [change for change in changes if change.verdict == "worse"]


def differences(before: Result, after: Result) -> list[str]:
    """Why the two runs can't be compared, as parts of a sentence; empty if they can."""
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
    """Whether the target repeats a ratio of the baselines."""
    return "asyncpg" in target.what or "bare SELECT" in target.what


def _times(before: Result, after: Result) -> Iterator[Change]:
    old = {(o.operation, o.store, o.depth): o.p50_us for o in before.operations}
    for now in after.operations:
        was = old.get((now.operation, now.store, now.depth))
        if was is not None:
            what = f"{now.operation}, {now.depth}: {now.store} p50"
            yield Change(what=what, before=was, after=now.p50_us, unit="µs", verdict="not judged")
