"""Format frames for people. Frames hold plain numbers; :mod:`chatsys.results.numbers` has the formats."""

from __future__ import annotations

import math
from functools import partial
from html import escape
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from chatsys.results import numbers

_MISSING = "-"
_UNITS = ("_ms", "_bytes", "_ratio")
_FOLDED = 60
"""Characters of a statement that are shown before it is unfolded."""


def human(value: Any, column: str) -> str:
    """``value`` as text for people. The ending of the column's name gives the unit; a missing value is a dash."""
    value = value.item() if isinstance(value, np.generic) else value  # a numpy.int64 is not an int
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
        return numbers.size(value)
    if stem.endswith("bytes_per_second"):
        return f"{numbers.size(value)}/s"
    if stem.endswith("_ms"):
        return numbers.duration(value * 1000)
    if stem.endswith("_ratio"):
        return numbers.percent(value)
    if column.endswith(("_id", "pid")):
        return str(value)
    return numbers.count(value) if isinstance(value, int) else numbers.figure(value)


def heading(column: str) -> str:
    """A column's name without its unit, which is written beside each number."""
    stem = column.removesuffix("_total")
    for unit in _UNITS:
        stem = stem.removesuffix(unit)
    return stem.replace("_", " ") or column


def pretty(frame: pd.DataFrame) -> Styler:
    """A styler for notebooks: units beside the numbers, numbers to the right, text to the left and wrapped.

    Statements are folded; a ``value`` beside a ``unit`` is shown with it. The frame itself is unchanged.
    """
    shown = _with_units(frame)
    formats: dict[Any, Any] = {name: partial(human, column=str(name)) for name in shown.columns}
    if "query" in shown:
        formats["query"] = _folded
    numeric = [pd.api.types.is_numeric_dtype(frame[name].dtype) for name in shown.columns]
    sides = ["right" if number else "left" for number in numeric]
    columns: list[Any] = [
        {"selector": f".col{n}", "props": f"text-align: {side}"} for n, side in enumerate(sides)
    ]  # fmt: skip
    style: list[Any] = [
        {"selector": "", "props": "max-width: 100%; display: block; overflow-x: auto"},
        {"selector": "td, th", "props": "white-space: normal; vertical-align: top; overflow-wrap: break-word"},
        *columns,
    ]
    return (
        shown.style.format(formats)
        .format_index(lambda name: heading(str(name)), axis="columns")
        .hide(axis="index")
        .set_table_styles(style)
        .set_uuid(f"chatsys-{crc32(repr(list(zip(shown.columns, sides, strict=True))).encode()):08x}")
    )


def _with_units(frame: pd.DataFrame) -> pd.DataFrame:
    """``value`` and ``unit`` as one column of text."""
    if not {"value", "unit"} <= set(frame.columns):
        return frame
    shown = frame.drop(columns="unit")
    pairs = zip(frame["value"], frame["unit"], strict=True)
    shown["value"] = [numbers.with_unit(value, str(unit)) for value, unit in pairs]
    shown.attrs = dict(frame.attrs)
    return shown


def _folded(statement: Any) -> str:
    """SQL as HTML that shows the beginning and unfolds the rest."""
    text = " ".join(str(statement).split())
    if len(text) <= _FOLDED:
        return escape(text)
    return f"<details><summary>{escape(text[:_FOLDED])} …</summary><code>{escape(text)}</code></details>"
