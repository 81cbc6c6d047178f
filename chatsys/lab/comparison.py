"""What changed between two stored runs. Counts are judged; times and ratios are only shown.

The times and ratios of two runs of one commit differ by more than their intervals say, because each run starts new
processes and the state of a machine changes. A rule with intervals and a factor called 24 of 56 ordered pairs of runs
of one commit "worse". :mod:`chatsys.lab.against` compares speed, in one run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

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


class _Figure(NamedTuple):
    value: float
    unit: str = ""
    judged: bool = False


def compare(before: Result, after: Result) -> list[Change]:
    """Every count, ratio, baseline, target and time that both runs have."""
    old = _figures(before)
    return [
        Change(
            what=what,
            before=old[what].value,
            after=new.value,
            unit=new.unit,
            verdict=_verdict(old[what].value, new.value) if new.judged else "not judged",
        )
        for what, new in _figures(after).items()
        if what in old
    ]


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


def _figures(result: Result) -> dict[str, _Figure]:
    """The figures of a run by what they are."""
    found = {}
    for count in result.counts:
        judged = count.metric.startswith(_JUDGED) and " x" not in count.subject
        found[f"{count.subject}: {count.metric}"] = _Figure(count.value, judged=judged)
    for each in result.persistence:
        if each.store == "postgresql":
            what = f"acknowledged messages missing on {each.store} after a kill of the {each.killed}"
            found[what] = _Figure(each.missing, judged=True)
    found |= {f"{r.operation}, {r.depth}: PostgreSQL / memory": _Figure(r.ratio, "×") for r in result.ratios}
    found |= {f"{b.operation}, {b.store} / {b.kind}": _Figure(b.ratio, "×") for b in result.baselines}
    targets = [target for target in result.targets if target.interval is not None and not _is_baseline(target)]
    found |= {target.what: _Figure(target.ratio, "×") for target in targets}
    found |= {f"{o.operation}, {o.depth}: {o.store} p50": _Figure(o.p50_us, "µs") for o in result.operations}
    return found


def _verdict(was: float, value: float) -> Literal["better", "worse", "same"]:
    if value > was * COUNT_FACTOR:
        return "worse"
    return "better" if value < was / COUNT_FACTOR else "same"


def _is_baseline(target: RatioTarget) -> bool:
    """Whether the target repeats a ratio of the baselines."""
    return "asyncpg" in target.what or "bare SELECT" in target.what
