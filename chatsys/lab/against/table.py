"""A comparison as text: 80 columns for a terminal, Markdown for a summary. The first line is the answer."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from chatsys.lab.against.record import CommitComparison, ComparisonRow
from chatsys.reports.page import Table
from chatsys.results.numbers import duration, figure

_ORDER = ("slower", "faster", "no difference found")
_WIDTH = 80
_LINE = "  {:<24} {:<12} {:>8} {:>8} {:>16} {:>5}"


def answer(result: CommitComparison) -> str:
    """The answer in one line: invalid, nothing slower, or how many operations are slower."""
    revision, commit = result.before.revision, result.before.commit[:9]
    than = commit if len(revision) > 30 else f"{revision} ({commit})"
    if not result.valid:
        return f"INVALID: {'; '.join(result.reasons)}."
    slower = {row.operation for row in result.slower()}
    if not slower:
        return f"Nothing is slower than {than}."
    return f"SLOWER than {than}: {len(slower)} of {_operations(result)} operations."


def shown(result: CommitComparison) -> list[ComparisonRow]:
    """All differences by verdict, and for every other operation its most sensitive measure."""
    found: list[ComparisonRow] = []
    for verdict in _ORDER[:2]:
        found += [row for row in result.rows if row.verdict == verdict]
    different = {row.operation for row in found}
    return found + [row for row in result.finest() if row.operation not in different]


def text(result: CommitComparison) -> str:
    """The comparison for a terminal of 80 columns."""
    lines = textwrap.wrap(answer(result), _WIDTH)
    if result.rows:
        lines += ["", _LINE.format("Operation", "decided by", "before", "after", "after / before", "finds").rstrip()]
        for verdict in _ORDER:
            rows = [row for row in shown(result) if row.verdict == verdict]
            lines += [verdict, *map(_line, rows)] if rows else []
    for note in _notes(result):
        lines += ["", *textwrap.wrap(note, _WIDTH)]
    return "\n".join(lines)


def markdown(result: CommitComparison) -> str:
    """The comparison in Markdown, for the summary of a workflow."""
    rows = [
        (row.operation, row.measure, _value(row, row.before), _value(row, row.after), _ratio(row), _finds(row.finds),
         f"**{row.verdict}**" if row.verdict == "slower" else row.verdict)
        for row in shown(result)
    ]  # fmt: skip
    header = ("Operation", "Decided by", "Before", "After", "After / before", "Finds", "Verdict")
    table = Table(header=header, rows=rows, align="llrrrrl").markdown()
    return "\n\n".join([f"**{answer(result)}**", *([table] if rows else []), *_notes(result)])


def _line(row: ComparisonRow) -> str:
    values = (_value(row, row.before), _value(row, row.after), _ratio(row), _finds(row.finds))
    return _LINE.format(row.operation, row.measure, *values)


def _notes(result: CommitComparison) -> Iterator[str]:
    if result.rows:
        yield (
            f"{_operations(result)} operations in {_rounds(result.rows)} rounds, each with fresh processes. Smaller is"
            " better. Intervals and verdicts are corrected for all operations together: if the two sides were equal,"
            f" {result.parameters['run_error']:.0%} of the runs would report a difference. finds: the smallest ratio"
            " that this run would detect in 9 of 10 cases."
        )
    if result.uncounted:
        yield result.uncounted
    for side in (result.before, result.after):
        if side.unmeasured:
            yield f"Calls on the stores were not measured. {side.unmeasured}"


def _operations(result: CommitComparison) -> int:
    return len({row.operation for row in result.rows})


def _rounds(rows: Sequence[ComparisonRow]) -> int:
    return max((len(row.rounds) for row in rows), default=0)


def _value(row: ComparisonRow, value: float) -> str:
    if row.unit == "µs":
        return duration(value)
    if row.unit == "bytes":
        return f"{value / 1024:.1f} KiB"
    return figure(value) if value < 1e6 else f"{value / 1e6:,.2f} M"


def _ratio(row: ComparisonRow) -> str:
    if row.counted:
        return f"{_finds(row.ratio)} (counted)"
    return f"{_finds(row.ratio)} ({_finds(row.interval.low)}-{_finds(row.interval.high)})"


def _finds(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
