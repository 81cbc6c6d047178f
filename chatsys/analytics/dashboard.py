"""A database and its chat at one glance: as one figure, and as a few lines of HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from chatsys.analytics.formatting import human
from chatsys.errors import ChatsysError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chatsys.analytics.monitor import Monitor

_GLANCE = (
    ("pulse", ("connections", "active", "lock_waits", "longest_transaction_ms", "size_bytes")),
    ("chat_totals", ("messages_total", "rooms", "sessions", "active_users", "servers")),
)


def dashboard(monitor: Monitor) -> Figure:
    """Six pictures in one figure: traffic, rooms, readers, tables, connections, statements.

    Each asks one query now; what this database or role does not have says so in its place.
    """
    import matplotlib.pyplot as plt

    from chatsys.analytics import plots

    figure = plt.figure(figsize=(14, 8), layout="constrained", facecolor="white")
    (traffic, rooms, readers), (tables, connections, statements) = figure.subplots(2, 3)
    _bars(traffic, monitor.quiet("messages_per_minute"), "minute", "messages", "Messages a minute")
    plots.room_sizes(monitor.quiet("room_stats"), ax=rooms)
    plots.read_lag(monitor.quiet("read_lag", messages=1_000), ax=readers)
    plots.table_sizes(monitor.quiet("table_sizes"), ax=tables)
    _bars(connections, monitor.quiet("connection_summary"), "state", "connections", "Connections by state")
    slow = monitor.quiet("slow_queries", limit=8)
    slow["statement"] = [" ".join(str(text).split())[:32] for text in slow["query"]]
    _bars(statements, slow, "statement", "exec_ms_total", "Time of statements")
    for axes in figure.axes:
        axes.grid(visible=True, alpha=0.3)
    figure.suptitle(
        f"{monitor.address.database} on {monitor.address.where}, {pd.Timestamp.now('UTC'):%Y-%m-%d %H:%M} UTC"
    )
    plt.close(figure)  # shown once, as the value of its cell
    return figure


def _bars(axes: Axes, frame: pd.DataFrame, names: str, values: str, title: str) -> None:
    axes.set_title(title, loc="left")
    shown = frame[[names, values]].dropna()
    if shown.empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing was measured", ha="center", va="center", transform=axes.transAxes)
        return
    heights = shown[values].astype("float64")
    if pd.api.types.is_datetime64_any_dtype(frame[names].dtype):
        axes.plot(shown[names], heights, color="#d55e00")
        axes.tick_params(axis="x", rotation=30)
        return
    axes.barh(shown[names].astype(str), heights, color="#0072b2")
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: human(float(value), values))


def summary(monitor: Monitor) -> str:
    """Where the monitor looks and how that is now, as HTML; an error of the database is told, not raised."""
    where = f"{monitor.address.database} on {monitor.address.where}"
    try:
        rows = [row for query, columns in _GLANCE for row in _rows(monitor.quiet(query), columns)]
    except ChatsysError as error:
        return f"<div><b>{escape(where)}</b>: {escape(error.message)}</div>"
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td style='text-align:right'>{escape(value)}</td></tr>" for name, value in rows
    )
    return f"<div><b>{escape(where)}</b><table>{cells}</table></div>"


def _rows(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[tuple[str, str]]:
    """Names and values of the first row; a sentence where there is none."""
    if frame.empty:
        return [(frame.attrs["query"], note) for note in frame.attrs["warnings"]]
    first: Any = frame.iloc[0]
    return [(name.removesuffix("_total").replace("_", " "), human(first[name], name)) for name in columns]
