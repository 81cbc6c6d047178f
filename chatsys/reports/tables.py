"""Tables of a benchmark run that the report, the terminal and a summary share."""

from __future__ import annotations

from collections.abc import Sequence

from chatsys.reports.page import Table
from chatsys.results.decision import Decision
from chatsys.results.names import TITLES
from chatsys.results.numbers import change, duration, durations, times
from chatsys.results.run import Baseline, ClaimPart, OperationResult, Result, held, operation

_HEADER = ("Operation", "Memory p50 / p95 / p99", "PostgreSQL p50 / p95 / p99", "With PostgreSQL",
           "Over the bare driver")  # fmt: skip
_WHERE = {
    "http": "HTTP requests over one keep-alive connection",
    "socket": "Socket.IO over WebSocket: sending until the own echo, marking read until the acknowledgement",
    "store": "Calls of the store inside the process, one at a time",
    "store x64": "Calls of the store inside the process, 64 at a time: a call's time includes its waiting",
}


def operations_table(result: Result, depth: str) -> Table:
    """The guide's operations at one depth, with the data in the stores. Operations without a result are left out."""
    rows, data = [], ""
    for name in TITLES:
        memory, postgresql = (operation(result, name, store, depth) for store in ("memory", "postgresql"))
        known = memory or postgresql
        if known is None:
            continue
        data = data or held(result, known)
        words = change(memory.p50_us, postgresql.p50_us) if memory and postgresql else ""
        bare = _bare(result, name) if depth == "store" else None
        over = f"{times(bare.ratio)} of {duration(bare.p50_us)}" if bare else ""
        rows.append([TITLES[name], _figures(memory), _figures(postgresql), words, over])
    used = [index for index in range(len(_HEADER)) if index == 0 or any(row[index] for row in rows)]
    return Table(
        header=[_HEADER[index] for index in used],
        rows=[[row[index] for index in used] for row in rows],
        caption=f"{_WHERE.get(depth, depth)}, with {data} in each store." if rows else "",
    )


def operations_tables(result: Result, *depths: str) -> Sequence[Table]:
    """The tables of several depths, without those that have no rows."""
    tables = [operations_table(result, depth) for depth in depths]
    return [table for table in tables if table.rows]


def decision_table(result: Result) -> Table:
    """How long a client waits: the first table in a terminal."""
    filled = operations_tables(result, "socket", "http") or [operations_table(result, "store")]
    rows = [row for table in filled for row in table.rows]
    return Table(header=filled[0].header, rows=rows, caption=" ".join(table.caption for table in filled))


def promises_table(decision: Decision) -> Table:
    """The guide's promises with the guide's figures, the measured ones, and the verdict on each part."""
    rows = [(each.title, each.guide, each.brief, "; ".join(map(marked, each.parts))) for each in decision.promises]
    return Table(header=("Promise", "The guide", "Measured", "Verdict"), rows=rows, align="llll")


def marked(part: ClaimPart) -> str:
    """One part of a promise, with ✓ if it was kept and ✗ if not."""
    return f"{'✓' if part.kept else '✗'} {part.words}"


def _figures(each: OperationResult | None) -> str:
    return "" if each is None else durations(each.p50_us, each.p95_us, each.p99_us)


def _bare(result: Result, name: str) -> Baseline | None:
    wanted = (name, "postgresql", "asyncpg")
    return next((f for f in result.baselines if (f.operation, f.store, f.kind) == wanted), None)
