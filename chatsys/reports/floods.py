"""How a flood by one client affects another client: the answer in words, a picture, and a row for each flood."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatsys.reports.page import Part, Table, Text
from chatsys.reports.pictures import Dots, dots
from chatsys.results.names import CONNECTIONS, DISCONNECTED, FLOOD, GROWTH, SENT, SERVER_SHARE
from chatsys.results.numbers import duration
from chatsys.results.run import Result

P50_US, P99_US = 5_000, 50_000
"""Bounds in microseconds for the median and the 99th percentile of other clients; set before any run."""

_CAPTION = (
    "Round trip of another client's messages, from the intended start to its own echo, without a flood (calm)"
    " and while one client floods the server; and the figures of the flood."
)
_HEADER = ("Flood", "Calm p50 / p99", "Flooded p50 / p99", "Within 5 / 50 ms", "Others lost", "Memory")
_MORE = ("Flooded max", "Flood sent", "Its connections", "Server's processor")


class FloodRow(msgspec.Struct, frozen=True, kw_only=True):
    """One flood: times are microseconds, ``growth`` bytes, ``sent`` bytes per second, ``server`` a share of a core."""

    flood: str
    calm: tuple[float, float]
    flooded: tuple[float, float]
    most: float
    disconnected: int
    growth: float
    sent: float
    connections: int
    server: float

    @property
    def within(self) -> bool:
        """Whether the other client stayed within both bounds."""
        return self.flooded[0] <= P50_US and self.flooded[1] <= P99_US


def rows(result: Result) -> list[FloodRow]:
    """The completely measured floods, in recorded order."""
    known = {(p.subject, p.x, p.metric): p.value for p in result.points if p.experiment == FLOOD}
    return [
        FloodRow(
            flood=flood,
            calm=(known[flood, 0, "p50"], known[flood, 0, "p99"]),
            flooded=(known[flood, 1, "p50"], known[flood, 1, "p99"]),
            most=known[flood, 1, "max"],
            disconnected=round(known[flood, 1, DISCONNECTED]),
            growth=known[flood, 1, GROWTH],
            sent=known[flood, 1, SENT],
            connections=round(known[flood, 1, CONNECTIONS]),
            server=known[flood, 1, SERVER_SHARE],
        )
        for flood in dict.fromkeys(subject for subject, _, _ in known)
        if (flood, 1, "max") in known
    ]


def parts(result: Result) -> list[Part]:
    """The section of the page; empty if no flood was measured."""
    found = rows(result)
    if not found:
        return []
    drawn = []
    for row in found:
        calm, flooded = ([value / 1000 for value in both] for both in (row.calm, row.flooded))
        drawn.append((row.flood, [Dots("calm p50 and p99", calm), Dots("flooded p50 and p99", flooded)]))
    bounds = ((P50_US / 1000, "bound of p50"), (P99_US / 1000, "bound of p99"))
    picture = dots("floods", _CAPTION, drawn, x="milliseconds", bounds=bounds)
    return [Text(answer(found)), picture, table(result)]


def table(result: Result) -> Table:
    """A row for each flood, including the figures of the flood."""
    cells = []
    for row in rows(result):
        sent = f"{row.sent / 1e6:,.3g} MB/s" if row.sent < 1e9 else f"{row.sent / 1e6:,.0f} MB/s"
        cells.append((*_short(row), duration(row.most), sent, f"{row.connections:,}", f"{row.server:.0%}"))
    return Table(header=(*_HEADER, *_MORE), rows=cells, caption=_CAPTION)


def short_table(result: Result) -> Table:
    """The same for a terminal, without the figures of the flood."""
    cells = [[cell.replace("**", "") for cell in _short(row)] for row in rows(result)]
    return Table(header=_HEADER, rows=cells, caption="Round trip of another client, calm and in a flood of one client.")


def _short(row: FloodRow) -> tuple[str, ...]:
    within, memory = "yes" if row.within else "**no**", f"{row.growth / 1e6:.1f} MB"
    return row.flood, _both(row.calm), _both(row.flooded), within, f"{row.disconnected}", memory


def answer(found: Sequence[FloodRow]) -> str:
    """The result in words; missed bounds come first."""
    beyond = [row for row in found if not row.within]
    gone = [row for row in found if row.disconnected]
    sentences = []
    if beyond:
        names = "; ".join(f"{row.flood} ({_both(row.flooded)})" for row in beyond)
        sentences.append(f"**Beyond a median of 5 ms or a p99 of 50 ms: {names}.**")
    if gone:
        names = "; ".join(f"{row.flood} ({row.disconnected})" for row in gone)
        sentences.append(f"**Others were disconnected: {names}.**")
    worst50, worst99 = (max(found, key=lambda row: row.flooded[index]) for index in (0, 1))
    most = max(found, key=lambda row: row.growth)
    if not beyond:
        sentences.append(
            f"In each of {len(found)} floods the others stayed within a median of 5 ms and a p99 of 50 ms."
        )
    sentences.append(
        f"The highest median of another client was {duration(worst50.flooded[0])} ({worst50.flood}), the highest"
        f" p99 {duration(worst99.flooded[1])} ({worst99.flood})."
    )
    if not gone:
        sentences.append("No flood disconnected anybody else.")
    sentences.append(f"The server's memory grew by at most {most.growth / 1e6:.1f} MB ({most.flood}).")
    return " ".join(sentences)


def _both(value: tuple[float, float]) -> str:
    return f"{value[0] / 1000:.3g} / {value[1] / 1000:.3g} ms"
