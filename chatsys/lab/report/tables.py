"""The tables of a run's report; the first one also stands in the README and ends ``chatsys bench``."""

from __future__ import annotations

from collections.abc import Sequence

from chatsys.lab.record import Floor, Operation, Ratio, Result, Survival
from chatsys.lab.report.page import Table
from chatsys.lab.statistics import Interval
from chatsys.lab.workloads.operation import FIND_BY_ID, FIND_BY_NAME, MARK_READ, RECENT, SEARCH, SEND, TABLE

TITLES = {
    FIND_BY_ID: "Find a user by id",
    FIND_BY_NAME: "Find a user by name",
    RECENT: "Get 100 messages",
    MARK_READ: "Mark a message read",
    SEARCH: "Search users",
    SEND: "Send a message",
}
_HEADER = ("Operation", "Memory p50 / p95 / p99", "PostgreSQL p50 / p95 / p99", "PostgreSQL / memory",
           "Times bare asyncpg")  # fmt: skip
_UNITS = ((1_000, 1, "µs"), (1_000_000, 1_000, "ms"), (float("inf"), 1_000_000, "s"))


def microseconds(value: float) -> str:
    """A time with a unit that suits it: 0.78 µs, 25.7 µs, 1.18 ms, 2.1 s."""
    divisor, unit = next((d, u) for limit, d, u in _UNITS if value < limit)
    return f"{figure(value / divisor)} {unit}"


def times(value: float, interval: Interval | None = None) -> str:
    """A ratio with its interval: 1.25 (1.21 to 1.30)."""

    if interval is None:
        return f"{figure(value)}×"
    return f"{figure(value)}× ({figure(interval.low)} to {figure(interval.high)})"


def figure(number: float) -> str:
    """Two decimals below 10, one below 100, none above; two significant digits below 0.1."""
    if 0 < number < 0.1:
        return f"{number:.2g}"
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def guide_table(result: Result, depth: str = "store", caption: str = "") -> Table:
    """The guide's table at one depth. What was not measured is left empty."""
    rows = []
    for name in TABLE:
        memory, postgresql = (_operation(result, name, store, depth) for store in ("memory", "postgresql"))
        if memory is None and postgresql is None:
            continue
        ratio = next((r for r in result.ratios if (r.operation, r.depth) == (name, depth)), None)
        floor = _floor(result, name, "postgresql", "asyncpg") if depth == "store" else None
        rows.append([TITLES[name], _figures(memory), _figures(postgresql), _ratio(ratio), _floor_cell(floor)])
    if depth == "store" and result.persistence:
        rows.append(["Data persistence", *(_survival(result, store) for store in ("memory", "postgresql")), "", ""])
    used = [index for index in range(len(_HEADER)) if index == 0 or any(row[index] for row in rows)]
    return Table(
        header=[_HEADER[index] for index in used],
        rows=[[row[index] for index in used] for row in rows],
        caption=caption,
    )


def _figures(operation: Operation | None) -> str:
    if operation is None:
        return ""
    divisor, unit = next((d, u) for limit, d, u in _UNITS if operation.p50_us < limit)
    return " / ".join(figure(v / divisor) for v in (operation.p50_us, operation.p95_us, operation.p99_us)) + f" {unit}"


def _ratio(ratio: Ratio | None) -> str:
    return "" if ratio is None else times(ratio.ratio, ratio.interval)


def _floor_cell(floor: Floor | None) -> str:
    return "" if floor is None else f"{times(floor.ratio)} of {microseconds(floor.p50_us)}"


def _operation(result: Result, name: str, store: str, depth: str) -> Operation | None:
    found = (o for o in result.operations if (o.operation, o.store, o.depth) == (name, store, depth))
    return next(found, None)


def _floor(result: Result, name: str, store: str, kind: str) -> Floor | None:
    return next((f for f in result.floors if (f.operation, f.store, f.kind) == (name, store, kind)), None)


def _survival(result: Result, store: str) -> str:
    found: Sequence[Survival] = [s for s in result.persistence if s.store == store and s.killed == "server"]
    if not found:
        return ""
    acknowledged, missing = sum(s.acknowledged for s in found), sum(s.missing for s in found)
    kept = acknowledged - missing
    return f"{'yes' if missing == 0 else 'no'}: {kept:,} of {acknowledged:,} kept"
