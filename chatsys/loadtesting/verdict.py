"""The verdict and its reasons: VALID, FAILED (messages lost or failures) or INVALID (the generator was saturated)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from chatsys.client.errors import ConnectionLost
from chatsys.loadtesting.scenarios import SCENARIOS
from chatsys.loadtesting.socketio_user import LOST
from chatsys.results import capacity
from chatsys.results.audit import DEVIATIONS, Audit, AuditRow

if TYPE_CHECKING:
    from chatsys.loadtesting.record import Failure, LocustResult

_SHOWN = 10
RECEIPT_UPDATES = ("message-status-update", "message-read-update")


def verdict_of(audit: Audit, invalid: list[str], failures: list[Failure]) -> tuple[str, list[str]]:
    """The verdict and its reasons. A lost message fails any run, and so does any of ``failures``.

    ``failures`` must not contain those that the scenario expects (:func:`brought_by`).
    """
    if not audit.passed:
        return "FAILED", audit.incomplete + [f"audit: {count} {name}" for name, count in deviations(audit.total)]
    if not audit.total.sent:
        return "FAILED", ["nothing was sent"]
    if invalid:
        return "INVALID", invalid
    if failures:
        return "FAILED", [f"{each.occurrences} x {each.method} {each.name}: {each.error}" for each in failures]
    return "VALID", []


def brought_by(scenario: str, failure: Failure) -> bool:
    """Whether the scenario expects this failure: a capacity search expects any, restarts expect lost connections."""
    if SCENARIOS[scenario].restarts:
        return failure.error.startswith(ConnectionLost.__name__) or (failure.method, failure.name) == LOST
    return scenario == "capacity"


def deviations(total: AuditRow) -> list[tuple[str, int]]:
    """The columns that must be 0 and are not, with their counts."""
    return [(name.replace("_", " "), getattr(total, name)) for name in DEVIATIONS if getattr(total, name)]


def audit_table(audit: Audit) -> list[str]:
    """The audit as lines of text: rooms with deviations, then the largest rooms, then the sum of all."""
    columns = AuditRow.__struct_fields__[1:]
    heads = ["room", *(name.replace("_", " ") for name in columns)]
    largest = sorted(audit.rows, key=lambda row: (-row.deviations, -row.expected))[:_SHOWN]
    lines = [[row.room, *(str(getattr(row, name)) for name in columns)] for row in (*largest, audit.total)]
    widths = [max(len(line[i]) for line in (heads, *lines)) for i in range(len(heads))]
    shown = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in (heads, *lines)]
    left_out = len(audit.rows) - len(largest)
    return shown + ([f"({left_out} more rooms are in the sum)"] if left_out else [])


def message_cost(total: AuditRow, unhandled: dict[str, int]) -> str:
    """The pushes and receipt updates that one message caused, on average over the run."""
    updates = sum(unhandled.get(event, 0) for event in RECEIPT_UPDATES)
    sent = max(1, total.sent)
    return f"Each message cost {total.delivered / sent:.1f} pushes and {updates / sent:.1f} receipt updates"


def advice(verdict: str) -> list[str]:
    """What to change after an INVALID run; empty after any other."""
    if verdict != "INVALID":
        return []
    return [
        "These figures are the load generator's own, not the server's.",
        "Use more generator processes (--processes, one for each processor) or more machines, fewer --users, or a "
        "longer --interval; end other programs; where nothing was measured, make --run-time longer.",
    ]


def print_verdict(result: LocustResult) -> None:
    """Print the audit, the capacity and the verdict to standard output."""
    lines = ["", f"Audit: {result.audit.rule}", *audit_table(result.audit)]
    lines += [f"  {example}" for example in result.audit.examples]
    if result.untimed:
        sent = ", ".join(f"{count} {name}" for name, count in sorted(result.untimed.items()))
        lines.append(f"Sent and not timed (no acknowledgement requested): {sent}")
    if result.unhandled:
        received = ", ".join(f"{count} {name}" for name, count in sorted(result.unhandled.items()))
        lines.append(f"Received and not timed: {received}")
        lines.append(message_cost(result.audit.total, result.unhandled))
    lines.append(f"Clock of the pushes: {result.clock}; {result.elsewhere} pushes from other hosts were not timed")
    for step in result.steps:
        p99 = "nothing timed" if step.push_p99 is None else f"push p99 {step.push_p99:.2f} ms"
        limit = f" ({step.limit} ran out first)" if step.limit else ""
        seen = f"{p99}, {step.failures} failures, {step.deviations} deviations"
        lines.append(f"{step.users} users: {seen}: {step.outcome}{limit}")
    if result.steps:
        found = capacity.answer(map(msgspec.to_builtins, result.steps))
        lines.append(f"Capacity: {found.words} (push p99 at most {result.options['objective']:g} ms); {found.why}")
    lines += [f"Verdict: {result.verdict}", *(f"  {line}" for line in (*result.reasons, *advice(result.verdict)))]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
