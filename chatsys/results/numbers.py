"""Formats for numbers shown to people, each defined once; units stand beside the numbers.

Times are microseconds and sizes are bytes. Python's and numpy's numbers are accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import SupportsFloat

_TIMES = ((1_000, 1, "µs"), (1_000_000, 1_000, "ms"), (120_000_000, 1_000_000, "s"), (7.2e9, 6e7, "min"))
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
SAME = 1.05
"""Two values that differ by less than this factor count as the same."""
MANY_TIMES = 2
"""A gain of at least this factor is shown as a factor, a smaller one as a difference."""


def figure(number: SupportsFloat) -> str:
    """Three significant figures: 7.25, 41.4, 1,184; two below 0.1 (0.0037) and two decimals below 10 (0.53)."""
    value = float(number)
    size = abs(value)
    if 0 < size < 0.0995:
        return f"{value:.2g}"
    return f"{value:.2f}" if size < 9.995 else f"{value:.1f}" if size < 99.95 else f"{value:,.0f}"


def rounded(number: SupportsFloat) -> str:
    """Two significant figures, for sentences: 0.53, 7.2, 41, 1,200."""
    value = float(f"{float(number):.2g}")
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:g}"


def duration(microseconds: SupportsFloat) -> str:
    """A time with a suitable unit: 0.78 µs, 25.7 µs, 1.18 ms, 2.10 s, 3.50 min, 2.00 h."""
    return _duration(float(microseconds), figure)


def brief_duration(microseconds: SupportsFloat) -> str:
    """:func:`duration` with two figures, for sentences: 0.53 ms, 7.2 ms, 68 ms. From 0.1 ms on in milliseconds."""
    value = float(microseconds)
    if 100 <= abs(value) < 1_000:
        return f"{rounded(value / 1_000)} ms"
    return _duration(value, rounded)


def durations(*microseconds: SupportsFloat) -> str:
    """Several times in the unit of the first: ``1.08 / 2.01 / 2.85 µs``."""
    divisor, unit = _unit(float(microseconds[0]))
    return " / ".join(figure(float(value) / divisor) for value in microseconds) + f" {unit}"


def durations_arrow(before: SupportsFloat, after: SupportsFloat) -> str:
    """Two times for a sentence: ``0.14 → 0.25 ms``. A common unit is shown once."""
    first, second = brief_duration(before), brief_duration(after)
    number, _, unit = first.partition(" ")
    return f"{number if second.endswith(f' {unit}') else first} → {second}"


def size(number: SupportsFloat) -> str:
    """Bytes: 581 B, 1.4 KiB, 2.4 MiB."""
    value, power = float(number), 0
    while abs(value) >= 1024 and power < len(_BINARY) - 1:
        value /= 1024
        power += 1
    return f"{value:,.0f} {_BINARY[power]}" if power == 0 or abs(value) >= 99.95 else f"{value:,.1f} {_BINARY[power]}"


def count(number: SupportsFloat) -> str:
    """A whole number with thousands separators: 100,000."""
    return f"{float(number):,.0f}"


def percent(share: SupportsFloat) -> str:
    """A share from 0 to 1: 98.7 %, 40.0 %."""
    return f"{float(share):.1%}".replace("%", " %")


def short_count(number: SupportsFloat, _position: object = None) -> str:
    """For an axis: 0, 0.5, 20, 3.4k, 2M."""
    value = float(number)
    for limit, ending in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{ending}"
    return f"{value:.3g}"


def with_unit(number: SupportsFloat, unit: str) -> str:
    """A value with its unit from a record: µs, s, B, 1/s or 1."""
    value = float(number)
    if unit in ("µs", "s"):
        return duration(value * (1e6 if unit == "s" else 1))
    if unit == "B":
        return size(value)
    return count(value) if abs(value) >= 100 or value == int(value) else figure(value)


def change(before: SupportsFloat, after: SupportsFloat) -> str:
    """The change of a time in words: ``0.41 ms more``, ``0.05 ms less``, ``271 times faster``, ``the same``."""
    old, new = float(before), float(after)
    if new * MANY_TIMES <= old:
        return f"{rounded(old / new)} times faster"
    if 1 / SAME < new / old < SAME:
        return "the same"
    return f"{brief_duration(abs(new - old))} {'more' if new > old else 'less'}"


def share_of(before: SupportsFloat, after: SupportsFloat) -> str:
    """The change of a rate in words: ``33 % fewer``, ``2.4 times as many``, ``as many``."""
    factor = float(after) / float(before)
    if 1 / SAME < factor < SAME:
        return "as many"
    if factor >= MANY_TIMES:
        return f"{rounded(factor)} times as many"
    return f"{abs(factor - 1):.0%} {'more' if factor > 1 else 'fewer'}".replace("%", " %")


def times(ratio: SupportsFloat, low: SupportsFloat | None = None, high: SupportsFloat | None = None) -> str:
    """A ratio with its interval: ``1.25× (1.21 to 1.30)``."""
    bounds = "" if low is None or high is None else f" ({figure(low)} to {figure(high)})"
    return f"{figure(ratio)}×{bounds}"


def _unit(value: float) -> tuple[float, str]:
    return next(((d, u) for limit, d, u in _TIMES if abs(value) < 0.9995 * limit), (3.6e9, "h"))


def _duration(value: float, shown: Callable[[float], str]) -> str:
    divisor, unit = _unit(value)
    return f"{shown(value / divisor)} {unit}"
