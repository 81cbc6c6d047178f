"""Numbers for people. Frames hold plain numbers; here, and only here, they become 1.2 MiB, 3.4 ms or 98.7 %."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MISSING = "-"
_FOLD = 20


def human(value: Any, column: str) -> str:
    """``value`` as a person reads it; the column's name tells its unit. Missing is a dash."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return _MISSING
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    stem = column.removesuffix("_total")
    if stem.endswith("bytes"):
        return _bytes(float(value))
    if stem.endswith("bytes_per_second"):
        return f"{_bytes(float(value))}/s"
    if stem.endswith("_ms"):
        return _duration(float(value))
    if stem.endswith("_ratio"):
        return f"{value:.1%}".replace("%", " %")
    if column.endswith(("_id", "pid")):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _bytes(value: float) -> str:
    power = 0
    while abs(value) >= 1024 and power < len(_BINARY) - 1:
        value /= 1024
        power += 1
    return f"{value:,.0f} {_BINARY[power]}" if power == 0 or abs(value) >= 100 else f"{value:,.1f} {_BINARY[power]}"


def _duration(ms: float) -> str:
    if abs(ms) < 1000:
        return f"{ms:.3g} ms"
    seconds = ms / 1000
    if abs(seconds) < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if abs(seconds) < 7200 else f"{seconds / 3600:,.1f} h"


def pretty(frame: pd.DataFrame) -> Styler:
    """A styler for notebooks: units written out, numbers to the right, the frame itself unchanged."""
    formats: dict[Any, Any] = {name: partial(human, column=str(name)) for name in frame.columns}
    right: list[Any] = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name].dtype)]
    return (
        frame.style.format(formats)
        .hide(axis="index")
        .set_properties(subset=right, **{"text-align": "right"})
        .set_uuid(f"chatsys-{frame.attrs.get('query', 'frame')}")
    )


class Shown:
    """A frame for the terminal: a row a line where that fits, else each row upright, as a single row always is."""

    def __init__(self, frame: pd.DataFrame, title: str = "") -> None:
        self._title = title or None
        self._names = [str(name) for name in frame.columns]
        self._numbers = [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]
        self._rows = [
            [" ".join(human(_plain(cell), name).split()) for name, cell in zip(self._names, row, strict=True)]
            for row in frame.itertuples(index=False)
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, as wide as the terminal lets it be."""
        if not self._rows:
            yield Text(f"{self._title or 'frame'}: no rows")
            return
        least = self._least_widths()
        fits = sum(least) + 3 * len(least) + 1 <= options.max_width
        yield self._lines(least) if fits and len(self._rows) != 1 else self._upright()

    def _least_widths(self) -> list[int]:
        """What each column needs: a number or a word of the heading is not cut, a text is folded at 20 characters."""
        widths = []
        for place, (name, is_number) in enumerate(zip(self._names, self._numbers, strict=True)):
            longest = max((len(row[place]) for row in self._rows), default=0)
            widths.append(max(longest if is_number else min(longest, _FOLD), *(len(word) for word in name.split("_"))))
        return widths

    def _lines(self, least: list[int]) -> Table:
        lines = Table(title=self._title, title_justify="left")
        for name, is_number, width in zip(self._names, self._numbers, least, strict=True):
            header = name.replace("_", " ")  # can be broken into lines
            justify: Any = "right" if is_number else "left"
            lines.add_column(header, justify=justify, no_wrap=is_number, overflow="fold", min_width=width, max_width=60)
        for row in self._rows:
            lines.add_row(*row)
        return lines

    def _upright(self) -> Table:
        upright = Table("column", Column("value", overflow="fold"), title=self._title, title_justify="left")
        for row in self._rows:
            for name, cell in zip(self._names, row, strict=True):
                upright.add_row(name, cell)
            upright.add_section()
        return upright


def _plain(cell: Any) -> Any:
    return cell.item() if hasattr(cell, "item") else cell
