"""docs/RELIABILITY.md: promise, fault, number of injections, what was seen; what fell short first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from chatsys.lab.faults.fault import CONTAINED, Concern
from chatsys.lab.faults.record import (
    ANSWER_LIMIT,
    AT_ONCE,
    NOTICE_FACTOR,
    NOTICE_LEAST_MS,
    RECOVERY_LIMIT,
    FaultKind,
    FaultsResult,
    Fuzzed,
    p99,
)

GROWTH_LIMIT_MIB = 64
"""Memory that one client, or nonsense, may cost a server."""
SENTINEL_LIMIT_MS = 250
"""How long a client beside it may wait for an acknowledgement."""


def _head(result: FaultsResult) -> str:
    cpus, commit = result.environment.get("cpus", "?"), str(result.environment.get("commit", "?"))[:12]
    return f"""# Reliability

*Generated from `reports/faults/faults.json` by `make faults`; do not edit.*

Real servers, a real PostgreSQL and real Socket.IO clients: two servers, three rooms of four people, each of whom \
sends ten messages a second. Each fault is injected at a random moment; what
every client saw is written down and checked afterwards. Nothing acknowledged may be lost, doubled, altered or out of
order, the lists of members must be true at the end, and the database must hold its own rules. Service must be back
within {RECOVERY_LIMIT:g} s of the end of a fault, a message must be answered within {ANSWER_LIMIT:g} s whatever the \
database does,
nobody may be thrown out of a living server, and where a fault concerns one client or one room, the others' p99 may be
at most {NOTICE_FACTOR:g} times what it was in calm (a p99 under {NOTICE_LEAST_MS:g} ms counts as unmoved). Such a \
fault has the machine
to itself; of the others up to {AT_ONCE} are injected at once, each with servers and a PostgreSQL of its own.

Run: {result.created_at}, profile {result.profile}, seed {result.seed}; {cpus} cores, commit `{commit}`. Before the \
injections that had the machine to themselves its
load was {_load(result)}
"""


def markdown(result: FaultsResult) -> str:
    """The page."""
    parts = [_head(result)]
    short = [kind for kind in result.kinds if shortcomings(kind)]
    kept = [kind for kind in result.kinds if kind.injections and not shortcomings(kind)]
    not_run = [kind for kind in result.kinds if not kind.injections]
    overcome = [each for each in result.fuzzing if not withstood(each)]
    parts.append(_section("What fell short", short) if short else "## What fell short\n")
    if overcome:
        parts.append(_nonsense(overcome))
    if not short and not overcome:
        parts.append("Nothing.\n")
    parts.append(_section("What was kept", kept))
    if not_run:
        rows = [(kind.name, kind.not_run or "not run in this profile") for kind in not_run]
        parts.append("## Not run\n\n" + _table(("Fault", "Why"), rows))
    if result.mutations:
        taken = [(each.mechanism, each.fault, each.noticed or "**nothing noticed it**") for each in result.mutations]
        head = "## Mechanisms taken away\n\nEach was disabled in the server; the fault must notice.\n\n"
        parts.append(head + _table(("Mechanism", "Fault", "What was noticed"), taken))
    if withstood_ones := [each for each in result.fuzzing if withstood(each)]:
        parts.append("## Nonsense\n\n" + _nonsense(withstood_ones))
    return "\n".join(parts)


def _nonsense(fuzzed: Sequence[Fuzzed]) -> str:
    """Each kind of nonsense a row."""
    columns = ("Nonsense", "Cases", "Wrong answers", "Tracebacks", "Growth", "Sentinel, slowest")
    lines = [
        (
            f"{each.kind}, commit `{each.commit[:12]}`" if each.commit else each.kind,
            f"{each.cases:,}",
            str(each.errors),
            str(each.tracebacks),
            f"{each.growth_mib:.0f} MiB, at most {GROWTH_LIMIT_MIB}",
            f"{each.sentinel_ms:.0f} ms, at most {SENTINEL_LIMIT_MS}",
        )
        for each in fuzzed
    ]
    return _table(columns, lines)


def _load(result: FaultsResult) -> str:
    """The machine's load where one fault had it to itself: what else uses it shows there."""
    loads = [each.load for kind in result.kinds if kind.concerns in CONTAINED for each in kind.injections]
    if not loads:
        return "not measured."
    cpus = int(result.environment.get("cpus") or 1)
    said = f"{np.median(loads):.1f} in the median and {max(loads):.1f} at most."
    return said if np.median(loads) <= 1.5 * cpus else said + " **Others used it: times say little.**"


def fell_short(result: FaultsResult) -> bool:
    """Whether anything that was promised was not seen."""
    return (
        any(shortcomings(kind) for kind in result.kinds)
        or any(not each.noticed for each in result.mutations)
        or any(not withstood(each) for each in result.fuzzing)
    )


def withstood(fuzzed: Fuzzed) -> bool:
    """Whether nonsense caused no 500 and no traceback, no more memory than allowed, and no wait for the sentinel."""
    quiet = not fuzzed.errors and not fuzzed.tracebacks
    return quiet and fuzzed.growth_mib <= GROWTH_LIMIT_MIB and fuzzed.sentinel_ms <= SENTINEL_LIMIT_MS


def shortcomings(kind: FaultKind) -> list[str]:
    """Where a kind's injections are not what is promised."""
    found: Counter[str] = Counter()
    for finding in (finding for run in kind.runs for finding in run.findings):
        found[finding.kind.replace("_", " ")] += finding.count
    said = [f"{count} {what}" for what, count in found.items()]
    if thrown := sum(injection.thrown_out for injection in kind.injections):
        said.append(f"{thrown} thrown out of a living server")
    if never := sum(injection.recovery is None for injection in kind.injections):
        said.append(f"service did not come back in {never}")
    slow = [each.recovery for each in kind.injections if each.recovery is not None and each.recovery > RECOVERY_LIMIT]
    if slow:
        said.append(f"{len(slow)} times back only after up to {max(slow):.1f} s")
    late = [each.slowest_answer for each in kind.injections if each.slowest_answer > ANSWER_LIMIT]
    if late and kind.concerns == Concern.DATABASE:
        said.append(f"a message was answered only after {max(late):.1f} s")
    calm, during = _p99s(kind)
    if kind.concerns in CONTAINED and during > max(NOTICE_FACTOR * calm, NOTICE_LEAST_MS):
        said.append(f"others' p99 {during:.0f} ms against {calm:.0f} ms")
    growth = max((each.growth_mib for each in kind.injections), default=0.0)
    if kind.concerns == Concern.CLIENT and growth > GROWTH_LIMIT_MIB:
        said.append(f"{growth:.0f} MiB taken by one client")
    said += sorted({*(run.broken for run in kind.runs), *(each.broken for each in kind.injections)} - {""})
    return said


def _section(title: str, kinds: Iterable[FaultKind]) -> str:
    columns = ("Fault", "Promise", "Injections", "Acknowledged", "Back after", "p99 calm, during", "What was seen")
    return f"## {title}\n\n" + _table(columns, [_row(kind) for kind in kinds])


def _row(kind: FaultKind) -> tuple[str, ...]:
    calm, during = _p99s(kind)
    back = [each.recovery for each in kind.injections if each.recovery is not None]
    return (
        kind.name,
        kind.promise,
        str(len(kind.injections)),
        f"{sum(run.acknowledged for run in kind.runs):,}",
        f"{np.median(back):.1f} s, at most {max(back):.1f} s" if back else "-",
        f"{calm:.0f}, {during:.0f} ms",
        "; ".join(shortcomings(kind)) or "nothing lost, nobody thrown out",
    )


def _p99s(kind: FaultKind) -> tuple[float, float]:
    """The others' p99 in calm and during the fault, over all injections together, in milliseconds."""
    return p99(each.others_calm for each in kind.injections), p99(each.others for each in kind.injections)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines) + "\n"
