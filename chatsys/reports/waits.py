"""The picture of how long a client waits on both stores, as SVG for a page, a README and a notebook.

It is drawn at the width of a phone and scales with its container. Colours are CSS variables with a light and a dark
value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from chatsys.results.decision import Felt, Wait
from chatsys.results.numbers import durations_arrow

LIGHT = (
    "--ds-fg:#1d2125;--ds-soft:#5d666f;--ds-line:#dfe3e6;--ds-card:#fff;--ds-m:#77828d;--ds-p:#1f6feb;"
    "--ds-yes:#1a7f37;--ds-no:#b42318"
)
DARK = (
    "--ds-fg:#e8eaec;--ds-soft:#9aa4ad;--ds-line:#2b3137;--ds-card:#1a1e22;--ds-m:#9aa6b1;--ds-p:#6ea8fe;"
    "--ds-yes:#4cc26b;--ds-no:#ff8a7a"
)
STYLE = Path(__file__).with_name("waits.css").read_text(encoding="utf-8")
_WIDTH, _ROW, _TOP, _EDGE = 360, 40, 26, 6
_GROUP = 16  # height of a heading, which names the protocol of the rows below it
_SCALE = 1.5  # of a picture outside a page


def alternative(felt: Sequence[Felt]) -> str:
    """The alternative text of the picture."""
    waits = "; ".join(
        f"{each.what}: {durations_arrow(each.memory.p50, each.postgresql.p50)}, {each.change}" for each in felt
    )
    return f"How long a client waits (median), memory → PostgreSQL. {waits}."


def svg(felt: Sequence[Felt], *, alone: bool = False) -> str:
    """Rows of a label and a track, grouped by protocol; ``alone`` includes the style and size."""
    waits = [wait for each in felt for wait in (each.memory, each.postgresql)]
    low, high = min(wait.p50 for wait in waits) * 0.7, max(wait.p99 for wait in waits) * 1.2
    groups = list(dict.fromkeys(each.how for each in felt))
    height = _TOP + _ROW * len(felt) + _GROUP * len(groups) + 4
    drawn, top = [*_ticks(low, high, height)], _TOP
    for how in groups:
        drawn.append(f'<text class="ds-soft" x="{_EDGE}" y="{top + 8}">{escape(how)}</text>')
        top += _GROUP
        for each in felt:
            if each.how == how:
                drawn += _row(top, each, low, high)
                top += _ROW
    size = style = ""
    if alone:
        size = f' width="{_SCALE * _WIDTH:.0f}" height="{_SCALE * height:.0f}"'
        style = f"<style>svg{{{LIGHT}}}@media(prefers-color-scheme:dark){{svg{{{DARK}}}}}{STYLE}</style>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="ds-svg" viewBox="0 0 {_WIDTH} {height}"{size} role="img"'
        f' aria-label="{escape(alternative(felt))}">{style}{"".join(drawn)}</svg>'
    )


def _ticks(low: float, high: float, height: int) -> Iterator[str]:
    for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        x = _x(10.0**power, low, high)
        yield f'<line class="ds-grid" x1="{x}" x2="{x}" y1="{_TOP - 8}" y2="{height}"/>'
        yield f'<text class="ds-tick" x="{x}" y="{_TOP - 13}">{10.0**power / 1000:g} ms</text>'


def _row(top: int, each: Felt, low: float, high: float) -> Iterator[str]:
    y = top + 25
    yield f'<text x="{_EDGE}" y="{top + 11}">{escape(each.what)}</text>'
    kind = " ds-less" if each.gains else ""
    yield f'<text class="ds-word{kind}" x="{_WIDTH - _EDGE}" y="{top + 11}">{escape(each.change)}</text>'
    m, p = (_x(wait.p50, low, high) for wait in (each.memory, each.postgresql))
    yield f'<line class="ds-span" x1="{min(m, p)}" x2="{max(m, p)}" y1="{y}" y2="{y}"/>'
    yield _tail("ds-tm", each.memory, y - 4, low, high)
    yield _tail("ds-tp", each.postgresql, y + 4, low, high)
    yield f'<circle class="ds-m" cx="{m}" cy="{y}" r="4.5"/><circle class="ds-p" cx="{p}" cy="{y}" r="4.5"/>'


def _tail(kind: str, wait: Wait, y: float, low: float, high: float) -> str:
    x1, x2 = (_x(value, low, high) for value in wait)
    return f'<line class="{kind}" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>'


def _x(value: float, low: float, high: float) -> float:
    share = (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))
    return round(_EDGE + share * (_WIDTH - 2 * _EDGE), 1)
