"""Numbers for people. Frames hold plain numbers; here, and only here, they become 1.2 MiB, 3.4 ms or 98.7 %."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler
from rich.table import Table

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MISSING = "-"


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


def table(frame: pd.DataFrame, title: str = "") -> Table:
    """A table for the terminal; a frame of one row stands upright."""
    if len(frame) == 1:
        upright = Table("column", "value", title=title or None, title_justify="left")
        for name in frame.columns:
            upright.add_row(str(name), human(_plain(frame.loc[frame.index[0], name]), str(name)))
        return upright
    result = Table(title=title or None, title_justify="left")
    for name in frame.columns:
        number = pd.api.types.is_numeric_dtype(frame[name].dtype)
        header = str(name).replace("_", " ")  # can be broken into lines
        result.add_column(header, justify="right" if number else "left", no_wrap=number, overflow="fold", max_width=60)
    for row in frame.itertuples(index=False):
        cells = (human(_plain(cell), str(name)) for name, cell in zip(frame.columns, row, strict=True))
        result.add_row(*(" ".join(cell.split()) for cell in cells))
    return result


def _plain(cell: Any) -> Any:
    return cell.item() if hasattr(cell, "item") else cell
