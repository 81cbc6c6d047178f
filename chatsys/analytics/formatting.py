"""Numbers for people. Frames hold plain numbers; here, and only here, they become 1.2 MiB, 3.4 ms or 98.7 %."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MISSING = "-"


def human(value: Any, column: str) -> str:
    """``value`` as a person reads it; the column's name tells its unit. Missing is a dash."""
    value = value.item() if isinstance(value, np.generic) else value  # a numpy.int64 is no int
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
