"""Figures as SVG that follow the reader's light or dark scheme, drawn by matplotlib.

matplotlib writes fixed colours. Therefore each role (ink, grid, each series) is drawn in a placeholder colour, which is
then replaced by a CSS variable. The style sheet inside the SVG gives each variable a light and a dark value. The series
colours are those of Okabe and Ito (2008, "Color Universal Design"), lightened for dark backgrounds. Each series also
has its own marker and line style, so no figure depends on colour.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import msgspec
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import Formatter, FuncFormatter, MaxNLocator, NullFormatter

from chatsys.reports.page import Figure
from chatsys.results.numbers import short_count

_ROLES = {  # role: (placeholder, light, dark)
    "ink": ("#010203", "#1c2024", "#e4e8ec"),
    "grid": ("#010204", "#d4d9df", "#3a424a"),
    "s0": ("#010205", "#0072b2", "#56b4e9"),
    "s1": ("#010206", "#d55e00", "#f0803c"),
    "s2": ("#010207", "#00805c", "#2fc79a"),
    "s3": ("#010208", "#a6528a", "#dd92bd"),
    "s4": ("#010209", "#8a7000", "#e6c229"),
    "s5": ("#01020a", "#5a6470", "#a0aab4"),
}
_SERIES = [name for name in _ROLES if name.startswith("s")]
_LEGEND = 0.94  # largest share of the picture's width: the page's font may be wider than the measured one
_MARKERS = "osD^vX"
_DASHES: Sequence[Any] = ["-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), "-", (0, (5, 2))]
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "chatsys",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _ROLES["grid"][0],
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "savefig.transparent": True,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), "#010203"),
}


class Series(msgspec.Struct, frozen=True):
    """One named line: ``x`` and ``y`` of equal length; ``low`` and ``high`` bound an interval around ``y``."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def lines(
    name: str,
    caption: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    steps: Sequence[tuple[float, str]] = (),
) -> Figure:
    """Lines with markers; an interval is a band. ``x`` and ``y`` are the labels of the axes with their units.

    ``steps`` are values of x at which the line with that name changed permanently; each gets a vertical line. A linear
    x axis has whole numbers.
    """
    with _drawing() as (canvas, axes):
        for number, line in enumerate(series):
            colour, marker, dash = _look(number)
            axes.plot(line.x, line.y, color=colour, marker=marker, linestyle=dash, linewidth=2, label=line.name)
            if line.low:
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
        for at, name_of_line in steps:
            axes.axvline(at - 0.5, color=_ROLES["ink"][0], linewidth=1, linestyle=(0, (2, 2)))
            axes.annotate(f"{name_of_line}: a step", (at - 0.5, 0.98), xycoords=("data", "axes fraction"),
                          xytext=(4, 0), textcoords="offset points", va="top", fontsize=11)  # fmt: skip
        _axes(axes, x, y, log_x=log_x, log_y=log_y)
        if log_x:
            axes.set_xticks(sorted({value for line in series for value in line.x}))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
            axes.set_xlim(left=0)
        if not log_y:
            axes.set_ylim(bottom=0)
        return _finish(canvas, axes, name, caption, legend=len(series))


def panels(name: str, caption: str, stacked: Sequence[tuple[str, Sequence[Series]]], *, x: str) -> Figure:
    """Line charts stacked on a common x axis; each panel is the label of its y axis and its series."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(7.6, 1.0 + 2.1 * len(stacked)), layout="constrained")
        drawn = np.atleast_1d(canvas.subplots(len(stacked), sharex=True))
        for axes, (label, series) in zip(drawn, stacked, strict=True):
            for number, line in enumerate(series):
                colour, _, dash = _look(number)
                axes.plot(line.x, line.y, color=colour, linestyle=dash, linewidth=2, label=line.name)
            _axes(axes, x if axes is drawn[-1] else "", label, log_x=False, log_y=False)
            axes.set_ylim(bottom=0)
            if len(series) > 1:
                axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        drawn[-1].set_xlim(left=0)
        return _finish(canvas, drawn[0], name, caption, legend=0)


def ecdf(
    name: str,
    caption: str,
    drawn: Sequence[tuple[str, npt.NDArray[np.floating], Sequence[float]]],
    *,
    x: str,
    y: str = "cumulative share",
) -> Figure:
    """Cumulative distributions on a logarithmic x axis: label, values, and the cumulative share at each value."""
    with _drawing() as (canvas, axes):
        for number, (label, values, shares) in enumerate(drawn):
            colour, _, dash = _look(number)
            axes.plot(values, shares, color=colour, linestyle=dash, linewidth=2, label=label)
        _axes(axes, x, y, log_x=True, log_y=False)
        axes.set_ylim(0, 1.01)
        return _finish(canvas, axes, name, caption, legend=len(drawn))


def bars(name: str, caption: str, values: Sequence[tuple[str, float]], *, x: str) -> Figure:
    """Horizontal bars, each with its value."""
    with _drawing(height=1.4 + 0.55 * len(values)) as (canvas, axes):
        numbers = [value for _, value in values]
        drawn = axes.barh([label for label, _ in values], numbers, color=_ROLES["s0"][0], height=0.6)
        axes.bar_label(drawn, labels=[short_count(value) for value in numbers], padding=5)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        _axes(axes, x, "", log_x=False, log_y=False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(0, max(numbers, default=0) * 1.18 or 1)
        return _finish(canvas, axes, name, caption, legend=0)


class Dots(NamedTuple):
    """Named values: a line from the smallest to the largest, and a dot at each."""

    name: str
    values: Sequence[float]


def dots(
    name: str,
    caption: str,
    rows: Sequence[tuple[str, Sequence[Dots]]],
    *,
    x: str,
    bounds: Sequence[tuple[float, str]] = (),
) -> Figure:
    """Rows of dots on a logarithmic x axis, one line for each name; ``bounds`` are vertical lines with labels."""
    with _drawing(height=1.6 + 0.55 * len(rows)) as (canvas, axes):
        for number, (_, named) in enumerate(rows):
            for index, each in enumerate(named):
                colour, marker, _ = _look(index)
                y = [number + 0.3 * (index - (len(named) - 1) / 2)] * len(each.values)
                label = each.name if not number else None
                axes.plot(each.values, y, color=colour, marker=marker, linewidth=2, label=label)
        for index, (value, label) in enumerate(bounds):
            colour, _, dash = _look(len(rows[0][1]) + index)
            axes.axvline(value, color=colour, linestyle=dash, label=label)
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        _axes(axes, x, "", log_x=True, log_y=False)
        axes.xaxis.set_minor_formatter(_between(*axes.get_xlim()))
        return _finish(canvas, axes, name, caption, legend=len(rows[0][1]) + len(bounds))


def _look(number: int) -> tuple[str, str, Any]:
    index = number % len(_SERIES)
    return _ROLES[_SERIES[index]][0], _MARKERS[index], _DASHES[index]


@contextmanager
def _drawing(height: float = 4.6) -> Iterator[tuple[Canvas, Axes]]:
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(7.6, height), layout="constrained")
        yield canvas, canvas.add_subplot()


def _axes(axes: Axes, x: str, y: str, *, log_x: bool, log_y: bool) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for axis, logarithmic in ((axes.xaxis, log_x), (axes.yaxis, log_y)):
        if logarithmic:
            (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
        if y or axis is axes.xaxis:
            axis.set_major_formatter(FuncFormatter(short_count))
        if logarithmic and axis is axes.yaxis:
            axis.set_minor_formatter(_between(*axes.get_ylim()))


def _between(low: float, high: float) -> Formatter:
    """Labels for ticks between powers of ten: all below half a decade, 2 and 5 below two decades, otherwise none."""
    if high < 5 * low:
        return FuncFormatter(short_count)
    if high >= 100 * low:
        return NullFormatter()
    return FuncFormatter(lambda value, _: short_count(value) if f"{value:e}"[0] in "25" else "")


def _finish(canvas: Canvas, axes: Axes, name: str, caption: str, *, legend: int) -> Figure:
    if legend > 1:
        handles, labels = axes.get_legend_handles_labels()
        for columns in (4, 3, 2) if legend != 4 else (4, 2):
            names = canvas.legend(handles, labels, loc="outside upper left", ncols=min(legend, columns))
            if columns == 2 or names.get_window_extent().width <= _LEGEND * canvas.bbox.width:
                break
            names.remove()
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Figure(name=name, caption=caption, svg=_themed(buffer.getvalue(), caption))


def _themed(svg: str, title: str) -> str:
    for role, (drawn, _, _) in _ROLES.items():
        svg = svg.replace(drawn, f"var(--{role})")
    light = "".join(f"--{role}:{colour};" for role, (_, colour, _) in _ROLES.items())
    dark = "".join(f"--{role}:{colour};" for role, (_, _, colour) in _ROLES.items())
    style = (
        f"<style>svg{{{light}}}@media (prefers-color-scheme: dark){{svg{{{dark}}}}}"
        f"@media print{{svg{{{light}}}}}text{{font-family:system-ui,sans-serif!important}}</style>"
    )
    end = svg.index(">", svg.index("<svg")) + 1
    heading = f"<title>{title.replace('&', '&amp;').replace('<', '&lt;')}</title>"
    return svg[svg.index("<svg") : end] + heading + style + svg[end:]
