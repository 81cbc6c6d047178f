"""docs/RELIABILITY.md: for each fault its promise, its injections and the result. Broken promises come first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from chatsys.lab.faults.fault import CONTAINED, Concern
from chatsys.lab.faults.record import (
    ANSWER_LIMIT,
    CONCURRENT_SITES,
    NOTICE_FACTOR,
    NOTICE_MIN_MS,
    RECOVERY_LIMIT,
    FaultKind,
    FaultsResult,
    Fuzzed,
    p99,
)

GROWTH_LIMIT_MIB = 64
"""Memory that one client, or malformed input, may cost a server."""
SENTINEL_LIMIT_MS = 250
"""How long another client may wait for an acknowledgement while the server gets malformed input."""


def _head(result: FaultsResult) -> str:
    cpus, commit = result.environment.get("cpus", "?"), str(result.environment.get("commit", "?"))[:12]
    return f"""# Reliability

*Generated from `reports/faults/faults.json` by `make faults`; do not edit.*

The test uses real servers, a real PostgreSQL and real Socket.IO clients: two servers and three rooms of four people,
each of whom sends ten messages a second. Each fault is injected at a random moment. Everything that the clients see
is recorded and checked afterwards:

- No acknowledged message is lost, duplicated, altered or out of order.
- At the end, the lists of members are correct, and the database satisfies its invariants.
- Service is back within {RECOVERY_LIMIT:g} s of the end of a fault.
- A message is acknowledged or refused within {ANSWER_LIMIT:g} s, whatever the database does.
- Nobody loses the connection to a running server.
- A fault of one client or one room does not slow down the others. Their p99 during the fault is at most
  {NOTICE_FACTOR:g} times their p99 before it; a p99 under {NOTICE_MIN_MS:g} ms always passes.

A fault of one client or one room has the machine to itself. Other faults share the machine:
up to {CONCURRENT_SITES} are injected at once, each with its own servers and its own PostgreSQL.

Run: {result.created_at}, profile {result.profile}, seed {result.seed}; {cpus} cores, commit `{commit}`.
The machine's load before the injections that had it to themselves: {_load(result)}
"""


def markdown(result: FaultsResult) -> str:
    """The page."""
    parts = [_head(result)]
    broken = [kind for kind in result.kinds if shortcomings(kind)]
    kept = [kind for kind in result.kinds if kind.injections and not shortcomings(kind)]
    not_run = [kind for kind in result.kinds if not kind.injections]
    harmful = [each for each in result.fuzzing if not harmless(each)]
    parts.append(_section("Broken promises", broken) if broken else "## Broken promises\n")
    if harmful:
        parts.append(_fuzzing(harmful))
    if not broken and not harmful:
        parts.append("None.\n")
    parts.append(_section("Kept promises", kept))
    if not_run:
        rows = [(kind.name, kind.not_run or "not run in this profile") for kind in not_run]
        parts.append("## Not run\n\n" + _table(("Fault", "Reason"), rows))
    if result.mutations:
        removed = [(each.mechanism, each.fault, each.noticed or "**nothing**") for each in result.mutations]
        head = "## Removed mechanisms\n\nEach mechanism was disabled in the server. The fault must detect that.\n\n"
        parts.append(head + _table(("Mechanism", "Fault", "What the fault detected"), removed))
    if passed := [each for each in result.fuzzing if harmless(each)]:
        parts.append("## Malformed input\n\n" + _fuzzing(passed))
    return "\n".join(parts)


def _fuzzing(fuzzed: Sequence[Fuzzed]) -> str:
    columns = (
        "Malformed input",
        "Cases",
        "Wrong answers",
        "Tracebacks",
        f"Memory growth (limit {GROWTH_LIMIT_MIB} MiB)",
        f"Slowest answer to another client (limit {SENTINEL_LIMIT_MS} ms)",
    )
    lines = [
        (
            f"{each.kind}, commit `{each.commit[:12]}`" if each.commit else each.kind,
            f"{each.cases:,}",
            str(each.errors),
            str(each.tracebacks),
            f"{each.growth_mib:.0f} MiB",
            f"{each.sentinel_ms:.0f} ms",
        )
        for each in fuzzed
    ]
    return _table(columns, lines)


def _load(result: FaultsResult) -> str:
    """The load average before faults that had the machine to themselves: a high one comes from other programs."""
    loads = [each.load for kind in result.kinds if kind.concerns in CONTAINED for each in kind.injections]
    if not loads:
        return "not measured."
    cpus = int(result.environment.get("cpus") or 1)
    text = f"median {np.median(loads):.1f}, highest {max(loads):.1f}."
    if np.median(loads) <= 1.5 * cpus:
        return text
    return text + " **Other programs used the machine, so the times say little.**"


def fell_short(result: FaultsResult) -> bool:
    """Whether a promise was broken, a removed mechanism went undetected, or malformed input did harm."""
    return (
        any(shortcomings(kind) for kind in result.kinds)
        or any(not each.noticed for each in result.mutations)
        or any(not harmless(each) for each in result.fuzzing)
    )


def harmless(fuzzed: Fuzzed) -> bool:
    """Whether malformed input caused no wrong answer and no traceback, and kept the limits of memory and time."""
    no_errors = not fuzzed.errors and not fuzzed.tracebacks
    return no_errors and fuzzed.growth_mib <= GROWTH_LIMIT_MIB and fuzzed.sentinel_ms <= SENTINEL_LIMIT_MS


def shortcomings(kind: FaultKind) -> list[str]:
    """Which promises a fault's injections broke. Mutations recognise some of these texts (see ``mutations``)."""
    found: Counter[str] = Counter()
    for finding in (finding for run in kind.runs for finding in run.findings):
        found[finding.kind.replace("_", " ")] += finding.count
    texts = [f"{count} {what}" for what, count in found.items()]
    injections = len(kind.injections)
    if lost := sum(injection.thrown_out for injection in kind.injections):
        texts.append(f"{lost} connections to a running server lost")
    if never := sum(injection.recovery is None for injection in kind.injections):
        texts.append(f"service did not come back in {never} of {injections} injections")
    slow = [each.recovery for each in kind.injections if each.recovery is not None and each.recovery > RECOVERY_LIMIT]
    if slow:
        texts.append(f"service was back only after up to {max(slow):.1f} s in {len(slow)} of {injections} injections")
    late = [each.slowest_answer for each in kind.injections if each.slowest_answer > ANSWER_LIMIT]
    if late and kind.concerns == Concern.DATABASE:
        texts.append(f"a message was answered only after {max(late):.1f} s")
    calm, during = _p99s(kind)
    if kind.concerns in CONTAINED and during > max(NOTICE_FACTOR * calm, NOTICE_MIN_MS):
        texts.append(f"others' p99 {during:.0f} ms, up from {calm:.0f} ms")
    growth = max((each.growth_mib for each in kind.injections), default=0.0)
    if kind.concerns == Concern.CLIENT and growth > GROWTH_LIMIT_MIB:
        texts.append(f"{growth:.0f} MiB taken by one client")
    texts += sorted({*(run.broken for run in kind.runs), *(each.broken for each in kind.injections)} - {""})
    return texts


def _section(title: str, kinds: Iterable[FaultKind]) -> str:
    columns = (
        "Fault",
        "Promise",
        "Injections",
        "Acknowledged messages",
        "Back after (median, highest)",
        "Others' p99 (before, during)",
        "Result",
    )
    return f"## {title}\n\n" + _table(columns, [_row(kind) for kind in kinds])


def _row(kind: FaultKind) -> tuple[str, ...]:
    calm, during = _p99s(kind)
    back = [each.recovery for each in kind.injections if each.recovery is not None]
    return (
        kind.name,
        kind.promise,
        str(len(kind.injections)),
        f"{sum(run.acknowledged for run in kind.runs):,}",
        f"{np.median(back):.1f}, {max(back):.1f} s" if back else "-",
        f"{calm:.0f}, {during:.0f} ms",
        "; ".join(shortcomings(kind)) or "nothing lost, nobody disconnected",
    )


def _p99s(kind: FaultKind) -> tuple[float, float]:
    """The others' p99 before and during the fault, over all injections together, in milliseconds."""
    return p99(each.others_calm for each in kind.injections), p99(each.others for each in kind.injections)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines) + "\n"
