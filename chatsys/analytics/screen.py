"""Show frames in a terminal of any width: the most important columns, and a summary of a long frame."""

from __future__ import annotations

import io
import re
import textwrap
from typing import Any

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

from chatsys.analytics.catalogue.priorities import PRIORITIES, WORST, ordered
from chatsys.analytics.formatting import heading, human

LONG = 40
"""The most rows that are shown one by one. A longer frame is summarised."""
STANDING_OUT = 10
_GAP = 2
_NAMED, _LISTED, _OTHER = 28, 20, 12
"""Least width of a text that is cut: in the most important column, in other columns of PRIORITIES, in the rest."""
_COMMENT = re.compile(r"--[^\n]*\n|/\*.*?\*/", re.DOTALL)


class Shown:
    """A frame as a terminal shows it. ``wide`` shows every column whole; ``limit`` shows that many rows and no summary.

    A single row is shown vertically, with one line for each column.
    """

    def __init__(self, frame: pd.DataFrame, title: str = "", *, wide: bool = False, limit: int | None = None) -> None:
        self._frame = frame
        self._title = title or str(frame.attrs.get("query", "frame"))
        self._query = str(frame.attrs.get("query", ""))
        self._wide = wide
        self._limit = limit

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, in the terminal's width."""
        count = len(self._frame)
        if not count:
            yield Text(f"{self._title}: no rows")
        elif count == 1:
            yield self._upright()
        elif self._limit is None and count > LONG:
            yield from self._summarised(options.max_width)
        else:
            shown = self._frame.head(self._limit or count)
            cut = f", {len(shown):,} shown" if len(shown) < count else ""
            yield from self._lines(shown, f"{self._title}: {count:,} rows{cut}", options.max_width)

    def _upright(self) -> Table:
        upright = bare_table(Column("column", no_wrap=True), Column("value", overflow="fold"), title=self._title)
        for name, column in self._frame.items():  # a row taken as a whole would make every count a float
            upright.add_row(str(name), _text(column.iloc[0], str(name)))
        return upright

    def _summarised(self, width: int) -> RenderResult:
        """Count, median, 95th percentile and maximum of each measure, then the rows that stand out."""
        yield Text(f"{self._title}: {len(self._frame):,} rows, summarised (--limit shows rows, --format csv all)")
        measures = [name for name in self._frame.columns if _is_measure(self._frame, str(name))]
        if measures:
            figures = ("count", "p50", "p95", "max")
            table = bare_table("", *(Column(each, justify="right", no_wrap=True) for each in figures))
            for name in measures:
                column = self._frame[name].dropna()
                values = (*column.astype("float64").quantile([0.5, 0.95]), column.max())
                table.add_row(_heading(str(name)), f"{len(column):,}", *(_text(value, str(name)) for value in values))
            yield table
        by = WORST.get(self._query)
        standing = self._frame.nlargest(STANDING_OUT, by) if by else self._frame.head(STANDING_OUT)
        what = f"largest by {_heading(by)}" if by else "first, in the query's order"
        yield Text("")
        yield from self._lines(standing, f"The {len(standing)} {what}", width)

    def _lines(self, frame: pd.DataFrame, title: str, width: int) -> RenderResult:
        """One line for each row. Columns that do not fit are named below."""
        order = ordered(self._query, [str(name) for name in frame.columns])
        columns = [_Cells(frame, str(name), self._least(order, str(name))) for name in frame.columns]
        chosen = columns if self._wide else _fitting(columns, order, width)
        _widen(chosen, width if not self._wide else sum(each.most + _GAP for each in columns))
        yield Text(title)
        yield _table(chosen)
        left = [each.name for each in columns if each not in chosen]
        if left:
            more = f"{len(left)} more: {', '.join(left)} (--wide shows all)"
            yield Text(textwrap.fill(more, width), style="dim")

    def _least(self, order: list[str], name: str) -> int:
        if name == order[0]:
            return _NAMED
        return _LISTED if name in PRIORITIES.get(self._query, ()) else _OTHER


def rows_in(frame: pd.DataFrame, width: int, height: int) -> list[Text]:
    """The first rows of a frame with their heading, as at most ``height`` lines that fit into ``width``."""
    query = str(frame.attrs.get("query", ""))
    order = ordered(query, [str(name) for name in frame.columns])
    cells = [_Cells(frame.head(height), str(name), _LISTED) for name in frame.columns]
    for each in cells:
        each.widen_to_heading()
    chosen = _fitting(cells, order, width)
    _widen(chosen, width)
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as drawn:
        console.print(_table(chosen))
    return [Text(line) for line in drawn.get().splitlines()[:height]]


class _Cells:
    """One column as text, and the widths it can take."""

    def __init__(self, frame: pd.DataFrame, name: str, least: int) -> None:
        self.name = name
        self.is_number = pd.api.types.is_numeric_dtype(frame[name].dtype)
        self.cells = [" ".join(_text(cell, name).split()) for cell in frame[name]]
        self.heading = _heading(name)
        longest = max((cell_len(cell) for cell in self.cells), default=0)
        word = max(len(part) for part in self.heading.split())
        self.most = max(longest, word)
        text = not self.is_number and not pd.api.types.is_datetime64_any_dtype(frame[name].dtype)
        self.least = max(min(longest, least) if text else longest, word)
        self.width = self.least

    def widen_to_heading(self) -> None:
        """Be wide enough for the heading on one line."""
        self.least = self.width = max(self.least, len(self.heading))
        self.most = max(self.most, self.least)


def _fitting(columns: list[_Cells], order: list[str], width: int) -> list[_Cells]:
    """The most important columns that fit side by side, at least the first one, in their declared order."""
    by_name = {each.name: each for each in columns}
    chosen, used = {order[0]}, by_name[order[0]].least
    for name in order[1:]:
        needed = by_name[name].least + _GAP
        if used + needed <= width:
            chosen.add(name)
            used += needed
    return [each for each in columns if each.name in chosen]


def _widen(columns: list[_Cells], width: int) -> None:
    """Give the rest of the width to columns that are cut, first to those that lack the least."""
    spare = width - sum(each.width for each in columns) - _GAP * (len(columns) - 1)
    for each in sorted(columns, key=lambda each: each.most - each.width):
        more = max(0, min(spare, each.most - each.width))
        each.width += more
        spare -= more


def _table(columns: list[_Cells]) -> RenderableType:
    table = bare_table()
    for each in columns:
        justify: Any = "right" if each.is_number else "left"
        folded = textwrap.fill(each.heading, each.width, break_long_words=False)
        table.add_column(Text(folded), justify=justify, no_wrap=True, overflow="ellipsis", width=each.width)
    for row in zip(*(each.cells for each in columns), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    return table


def _heading(name: str) -> str:
    """A column's name for a table, without its unit, which is written beside each value."""
    return heading(name).replace(" per second", "/s")


def bare_table(*columns: Column | str, title: str | None = None) -> Table:
    """A table with a line only below its heading."""
    return Table(
        *columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip


def _is_measure(frame: pd.DataFrame, name: str) -> bool:
    numeric = pd.api.types.is_numeric_dtype(frame[name].dtype) and not pd.api.types.is_bool_dtype(frame[name].dtype)
    return numeric and not name.endswith(("pid", "_id")) and name != "seq"


def _text(cell: Any, name: str) -> str:
    """The value as text for people; a statement without its comments."""
    shown = human(cell, name)
    return (_COMMENT.sub(" ", shown).strip() or shown) if name.endswith("query") else shown
