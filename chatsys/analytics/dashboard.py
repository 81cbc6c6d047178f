"""A database and its chat at a glance: as one figure, and as a few lines of HTML."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from chatsys.analytics.formatting import heading, human
from chatsys.errors import ChatsysError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GLANCE = (
    ("pulse", ("connections", "active", "lock_waits", "longest_transaction_ms", "size_bytes")),
    ("chat_totals", ("messages_total", "rooms", "sessions", "active_users", "servers")),
)
_BLUE, _ORANGE, _YELLOW = "#0072b2", "#d55e00", "#e69f00"
_ROWS = 8
_LINE: dict[str, Any] = {"color": _BLUE, "linestyle": "-", "marker": ""}
_TARGETS = re.compile(
    r"\b(INSERT)\s+INTO\s+([\w.]+)|\b(UPDATE)\s+([\w.]+)\s+(?:\w+\s+)?SET\b|\b(DELETE)\s+FROM\s+([\w.]+)", re.I
)
_SOURCE = re.compile(r"\bFROM\s+([a-z_][\w.]*)(?!\s*\()\b", re.IGNORECASE)


class Queryable(Protocol):
    """What the dashboard uses of a Monitor."""

    address: Any

    def quiet(self, name: str, **parameters: int) -> pd.DataFrame:
        """The frame of a query of the catalogue, without a warning."""


def dashboard(monitor: Queryable) -> Figure:
    """Six pictures in one figure: traffic, rooms, readers, tables, connections, statements.

    Each picture runs one query now. If this database or role lacks something, the picture says so.
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from chatsys.analytics.plots import STYLE

    small: Any = {"font.size": 9, "axes.titlesize": 11, "axes.titlepad": 8, "legend.frameon": True}
    with mpl.rc_context(small, STYLE):
        figure = plt.figure(figsize=(15, 7.5))
        for axes, (title, frame, draw) in zip(figure.subplots(2, 3).flat, _pictures(monitor), strict=True):
            axes.set_title(title)
            if frame.empty:
                _show_note(axes, *frame.attrs["warnings"][:1])
            else:
                draw(frame, axes)
        figure.suptitle(
            f"{monitor.address.database} on {monitor.address.where}, {pd.Timestamp.now('UTC'):%Y-%m-%d %H:%M} UTC"
        )
        figure.draw_without_rendering()  # the layout of texts needs the style
        plt.close(figure)  # otherwise a notebook shows it twice: at the end of the cell, and as its value
    return figure


_Draw = Callable[[pd.DataFrame, "Axes"], None]


def _pictures(monitor: Queryable) -> list[tuple[str, pd.DataFrame, _Draw]]:
    """Title, rows and drawing function of each picture."""
    rooms = monitor.quiet("room_stats").query("messages > 0").nlargest(_ROWS, "messages")
    tables = monitor.quiet("table_sizes").nlargest(_ROWS, "size_bytes")
    return [
        ("Messages a minute", monitor.quiet("messages_per_minute"), _minutes),
        ("The largest rooms, by messages", rooms, _bars("room_name", "messages")),
        ("How soon messages are read", monitor.quiet("read_lag", messages=1_000), _lags),
        ("The largest tables: rows, and indexes", tables, _tables),
        ("Connections by state", monitor.quiet("connection_summary"), _bars("state", "connections")),
        ("Time of statements", _gists(monitor.quiet("slow_queries", limit=_ROWS)), _bars("gist", "exec_ms_total")),
    ]


def _show_note(axes: Axes, why: str = "nothing to show") -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(why, 48), ha="center", va="center", transform=axes.transAxes)


def _minutes(frame: pd.DataFrame, axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, DateFormatter

    axes.plot(frame["minute"].to_numpy(), frame["messages"].to_numpy(dtype="float64"), **_LINE | {"color": _ORANGE})
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(AutoDateLocator(maxticks=6))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value == int(value) else "")


def _bars(names: str, values: str) -> _Draw:
    """A function that draws a bar for each row, the longest on top, with its value beside it."""

    def draw(frame: pd.DataFrame, axes: Axes) -> None:
        shown = frame.dropna(subset=[values]).sort_values(values, kind="stable")
        widths = shown[values].to_numpy(dtype="float64")
        labels = [_short(str(name)) for name in shown[names]]
        axes.barh(np.arange(len(shown)), widths, color=_BLUE, height=0.65)
        _label(axes, labels, widths, values if values.endswith("_ms_total") else "rows")

    return draw


def _tables(frame: pd.DataFrame, axes: Axes) -> None:
    shown = frame.sort_values("size_bytes")
    rows = (shown["size_bytes"] - shown["indexes_bytes"]).to_numpy(dtype="float64")
    indexes = shown["indexes_bytes"].to_numpy(dtype="float64")
    at = np.arange(len(shown))
    axes.barh(at, rows, color=_BLUE, height=0.65, label="rows, with TOAST")
    axes.barh(at, indexes, left=rows, color=_YELLOW, height=0.65, hatch="///", edgecolor="white", label="indexes")
    _label(axes, [_short(str(name)) for name in shown["table_name"]], rows + indexes, "size_bytes")
    axes.legend(loc="lower right")


def _label(axes: Axes, names: list[str], widths: np.ndarray[Any, Any], unit: str) -> None:
    """Write names to the left and values to the right of the bars, which then need no scale."""
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_ylim(len(names) - _ROWS - 0.5, len(names) - 0.5)  # bars of one height in every picture
    for position, width in enumerate(widths):
        shown = human(float(width), unit) if unit != "rows" else f"{width:,.0f}"
        axes.annotate(shown, (width, position), (4, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, max(float(widths.max(initial=0)), 1) * 1.25)
    axes.xaxis.set_visible(False)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _lags(frame: pd.DataFrame, axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

    lags = np.sort(np.maximum(frame["lag_ms"].to_numpy(dtype="float64"), 1.0))
    axes.step(lags, np.arange(1, len(lags) + 1) / len(lags), where="post", **_LINE)
    half, most = np.quantile(lags, (0.5, 0.95))
    axes.set_title(f"Read: half in {human(float(half), 'x_ms')}, 95 % in {human(float(most), 'x_ms')}")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(lambda value, _: human(float(value), "x_ms"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.01)


def _gists(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(gist=[gist(str(statement)) for statement in frame["query"]])


def gist(statement: str) -> str:
    """What a statement writes, such as INSERT messages; otherwise SELECT and its first table, or the statement."""
    writes = [" ".join(filter(None, found)) for found in _TARGETS.findall(statement)]
    if writes:
        return ", ".join(dict.fromkeys(writes))
    first = statement.split(maxsplit=1)[0].upper() if statement.split() else ""
    source = _SOURCE.search(statement)
    if first in {"SELECT", "WITH"} and source is not None:
        return f"SELECT {source[1]}"
    return " ".join(statement.split())


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def summary(monitor: Queryable) -> str:
    """The monitor's database and its present state as HTML. An error of the database is shown, not raised."""
    where = f"{monitor.address.database} on {monitor.address.where}"
    try:
        rows = [row for query, columns in _GLANCE for row in _rows(monitor.quiet(query), columns)]
    except ChatsysError as error:
        return f"<div><b>{escape(where)}</b>: {escape(error.message)}</div>"
    cells = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td><td style='text-align:{align}'>{escape(value)}</td></tr>"
        for name, value, align in rows
    )
    return f"<div><b>{escape(where)}</b><table>{cells}</table></div>"


def _rows(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Name, value and alignment for each column of the first row; the warnings if there is no row."""
    if frame.empty:
        return [(str(frame.attrs["query"]).replace("_", " "), note, "left") for note in frame.attrs["warnings"]]
    first: Any = frame.iloc[0]
    return [(heading(name), human(first[name], name), "right") for name in columns]
