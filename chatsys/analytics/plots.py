"""One function for each picture. It takes a frame of this package and ``ax=``, and returns the Axes.

All use one style (chatsys.mplstyle). Memory and PostgreSQL have the same colour, marker and dash in every picture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator, NullFormatter, PercentFormatter

from chatsys.analytics.describing import Described, describe_pictures
from chatsys.analytics.formatting import human
from chatsys.results.capacity import FAILED, NOT_MEASURABLE, OUTCOMES, answer
from chatsys.results.names import TITLES
from chatsys.results.names import title as title_of
from chatsys.results.numbers import short_count as _count

STYLE = Path(__file__).with_name("chatsys.mplstyle")
_STYLE: Any = mpl.rc_params_from_file(STYLE, use_default_template=False)

_LOOKS: dict[str, dict[str, Any]] = {
    "memory": {"color": "#0072b2", "marker": "o", "linestyle": "-", "label": "memory"},
    "postgresql": {"color": "#d55e00", "marker": "s", "linestyle": "--", "label": "PostgreSQL"},
}
_LOOKS["asyncpg"] = {"color": "#a6528a", "marker": "^", "linestyle": "-.", "label": "bare asyncpg"}
_LOOKS["pgbench"] = {"color": "#8a7000", "marker": "v", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "label": "pgbench"}
_LOOKS["python"] = {"color": "#00805c", "marker": "D", "linestyle": ":", "label": "bare Python"}
_DEPTHS = {"store": "one at a time", "http": "over HTTP", "socket": "over a socket"}
_QUIET = "#5a6470"
_Text = Callable[[float, object], str]


def _picture(height: float | None = None) -> Callable[[Callable[..., None]], Callable[..., Axes]]:
    """Draw on ``ax``, or on a new figure (``height`` in inches), in the style of chatsys.mplstyle.

    For an empty frame, the picture says that nothing was measured.
    """

    def picture(draw: Callable[..., None]) -> Callable[..., Axes]:
        @wraps(draw)
        def drawn(frame: pd.DataFrame, *, ax: Axes | None = None, **options: Any) -> Axes:
            axes = ax if ax is not None else _new_axes(height)
            with mpl.rc_context(_STYLE):
                if frame.empty:
                    axes.set_axis_off()
                    axes.text(0.5, 0.5, "nothing was measured", ha="center", va="center", transform=axes.transAxes)
                else:
                    draw(frame, axes, **options)
            return axes

        return drawn

    return picture


def _new_axes(height: float | None) -> Axes:
    """An empty Axes on a figure of its own.

    It is made outside any rc_context: the first figure chooses the backend, and the end of a context would undo that.
    """
    width, usual = _STYLE["figure.figsize"]
    describe_pictures()
    figure = plt.figure(
        FigureClass=Described,
        figsize=(width, height or usual),
        dpi=_STYLE["figure.dpi"],
        facecolor="white",
        layout="constrained",
    )
    with mpl.rc_context(_STYLE):
        return figure.add_subplot()


@_picture()
def operations(frame: pd.DataFrame, axes: Axes, *, depth: str = "store") -> None:
    """``runs.operations``: a marker at p50 and a line to p99, one pair per row, on a logarithmic axis."""
    chosen = frame[frame["depth"].eq(depth) & frame["operation"].isin(list(TITLES))]
    names = [name for name in TITLES if name in set(chosen["operation"])]
    for offset, store in ((-0.15, "memory"), (0.15, "postgresql")):
        rows = chosen[chosen["store"].eq(store)].set_index("operation").reindex(names)
        where = np.arange(len(names)) + offset
        look = _LOOKS[store]
        axes.hlines(where, rows["p50_ms"], rows["p99_ms"], color=look["color"], linestyle=look["linestyle"])
        axes.plot(rows["p50_ms"], where, color=look["color"], marker=look["marker"], linestyle="", label=look["label"])
        axes.plot(rows["p99_ms"], where, color=look["color"], marker="|", markersize=10, linestyle="")
    axes.set_yticks(range(len(names)), [TITLES[name] for name in names])
    axes.invert_yaxis()
    _logarithmic(axes, x=_milliseconds)
    axes.set(xlabel="time of one call, logarithmic (marker: p50; bar: p99)", title="How long an operation takes")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


@_picture()
def ecdf(frame: pd.DataFrame, axes: Axes, *, by: str = "subject", title: str = "How long calls take") -> None:
    """``runs.distributions``, ``runs.samples`` or ``runs.distribution``: the cumulative share, a line per ``by``."""
    for number, (name, part) in enumerate(frame.groupby(by, sort=True)):
        values, shares = _shares(part)
        look = _look(str(name), number) | {"marker": ""}
        axes.step(values, shares, where="post", **look)
        middle = float(values[np.searchsorted(shares, 0.5)])
        axes.plot([middle], [0.5], marker=_look(str(name), number)["marker"], color=look["color"], linestyle="")
    _logarithmic(axes, x=_milliseconds)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.01)
    axes.set(xlabel="time, logarithmic (marker: half of the calls)", ylabel="cumulative share of calls", title=title)
    _legend(axes)


def _shares(part: pd.DataFrame) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Values with the share of calls at or below each, from a frame of any of the three kinds."""
    if "share_ratio" in part:
        ordered = part.sort_values("share_ratio")
        return np.maximum(ordered["latency_ms"].to_numpy(), 1e-6), ordered["share_ratio"].to_numpy()
    weights = part["samples"] if "samples" in part else pd.Series(1, index=part.index)
    values: Any = part["latency_ms"].to_numpy(dtype="float64")
    counted: Any = weights.to_numpy(dtype="float64")
    return _cumulated(values, counted)


def _cumulated(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], points: int = 500
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Values with the share of samples at or below them; at most ``points``, the last one the largest."""
    order = np.argsort(values)
    sorted_values = np.maximum(values[order], 1e-6)
    shares = np.cumsum(weights[order]) / weights.sum()
    if len(shares) <= points:
        return sorted_values, shares
    chosen = np.unique(np.minimum(np.searchsorted(shares, np.linspace(0, 1, points)), len(shares) - 1))
    return sorted_values[chosen], shares[chosen]


@_picture()
def growth(frame: pd.DataFrame, axes: Axes, *, operation: str, fits: pd.DataFrame | None = None) -> None:
    """``runs.growth``: the median of ``operation`` over the size, both logarithmic, with the fitted exponents."""
    chosen = frame[frame["operation"].eq(operation)]
    exponents = {} if fits is None else fits[fits["operation"].eq(operation)].set_index("store")["exponent"].to_dict()
    for number, (store, part) in enumerate(chosen.sort_values("size").groupby("store", sort=True)):
        look = _look(str(store), number)
        if store in exponents:
            look["label"] = f"{look['label']}: n^{exponents[store]:.2f}"
            fitted = {"color": look["color"], "linestyle": "-", "marker": "", "linewidth": 1, "alpha": 0.6}
            axes.plot(part["size"], _fitted(part, exponents[store]), **fitted)
        axes.plot(part["size"], part["p50_ms"], **look)
    _logarithmic(axes, x=_count, y=_milliseconds)
    axes.set_xticks(sorted(chosen["size"].unique()))
    axes.set_xlabel("n users or messages stored" + (" (thin line: the fitted power of n)" if exponents else ""))
    axes.set_ylabel("half of the calls are faster than")
    axes.set_title(TITLES.get(operation, operation.replace("_", " ")))
    _legend(axes)


def _fitted(part: pd.DataFrame, exponent: float) -> npt.NDArray[np.float64]:
    """The power law with this exponent through the middle of the measured points."""
    sizes, medians = part["size"].to_numpy(dtype="float64"), part["p50_ms"].to_numpy()
    scale = np.exp(np.mean(np.log(medians) - exponent * np.log(sizes)))
    return np.asarray(scale * sizes**exponent)


@_picture()
def durability(frame: pd.DataFrame, axes: Axes, *, title: str = "What a durable commit costs") -> None:
    """``runs.durability``: a bar for each level, with its interval and its value."""
    steps = frame.iloc[::-1]
    axes.barh(steps["subject"].astype(str), steps["value"], color="#0072b2", height=0.6)
    known = steps["low"].notna().to_numpy()
    if known.any():
        spread = np.array([steps["value"] - steps["low"], steps["high"] - steps["value"]], dtype="float64")[:, known]
        where = np.arange(len(steps))[known]
        axes.errorbar(steps["value"][known], where, xerr=spread, fmt="none", ecolor="#1c2024", capsize=4)
    for row, (value, end) in enumerate(zip(steps["value"], steps[["value", "high"]].max(axis=1), strict=True)):
        axes.annotate(_count(value), (end, row), (8, 0), textcoords="offset points", va="center")
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(str(steps["metric"].iloc[0]).replace("/s", " per second"))
    axes.xaxis.set_major_formatter(FuncFormatter(_count))
    axes.set_title(title)


@_picture()
def distance(frame: pd.DataFrame, axes: Axes) -> None:
    """``runs.points`` of the experiment distance: p50 of each operation by the round trip to the database."""
    medians = frame[frame["metric"].eq("p50")]
    for number, (name, part) in enumerate(medians.groupby("subject", sort=False)):
        look = _look(str(name), number) | {"label": title_of(str(name))}
        axes.plot(part["x"] / 1000, part["value"] / 1000, **look)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(FuncFormatter(_milliseconds))
    axes.yaxis.set_major_formatter(FuncFormatter(_milliseconds))
    axes.set_xlabel("round trip between server and database")
    axes.set_ylabel("half of the calls are faster than")
    axes.set_title("How long each operation takes when the database is elsewhere")
    _legend(axes)


@_picture(height=7.5)
def timeline(frame: pd.DataFrame, axes: Axes, *, title: str = "") -> None:
    """``runs.timeline``: push latency over time, and below it, on the same time axis, users and work per second.

    The given Axes shows the latency. Two more are added below it; the three share the area of the first.
    """
    seconds = frame["elapsed_ms"] / 1000
    below, lowest = _two_below(axes)
    axes.plot(seconds, frame["push_p50_ms"], label="half came within", marker="", color="#1c2024", linestyle="-")
    axes.plot(seconds, frame["push_p99_ms"], label="99 % came within", marker="", color="#a6528a", linestyle="--")
    _logarithmic(axes, y=_milliseconds)
    axes.set_ylabel("message to recipient")
    axes.tick_params(labelbottom=False)
    store = _look(str(frame.attrs.get("store", "")), 0)["label"]
    axes.set_title(title or f"A load test over time: {store}, repetition {frame.attrs['repetition']}", pad=26)
    _legend_above(axes)
    below.plot(seconds, frame["users"], color="#1c2024", marker="")
    below.set_ylim(bottom=0)
    below.set_ylabel("users")
    below.tick_params(labelbottom=False)
    rates = {"push_per_second": "pushes", "rows_inserted_per_second": "rows stored", "commits_per_second": "commits"}
    for number, (column, name) in enumerate((c, n) for c, n in rates.items() if c in frame):
        lowest.plot(seconds, frame[column].where(frame[column] > 0), **(_look(name, number) | {"marker": ""}))
    _logarithmic(lowest, y=_count)
    lowest.set(ylabel="per second", xlabel="seconds since the start")
    _legend_above(lowest)


def _two_below(axes: Axes) -> tuple[Axes, Axes]:
    """Two new Axes below ``axes`` with the same x axis; the three share its area. Raises ValueError without one."""
    area = axes.get_subplotspec()
    if area is None:
        raise ValueError("timeline() needs an Axes made by add_subplot() or subplots().")
    grid = area.subgridspec(3, 1, height_ratios=(2, 1, 1.5))
    axes.set_subplotspec(grid[0])
    figure: Any = axes.figure
    return figure.add_subplot(grid[1], sharex=axes), figure.add_subplot(grid[2], sharex=axes)


@_picture()
def capacity(frame: pd.DataFrame, axes: Axes, *, objective_ms: float | None = None) -> None:
    """Push p99 at each number of users that was tried: columns store, users, p99_ms, outcome.

    A line joins the numbers that held the objective. A cross failed. An empty ring is not measurable, because the load
    generator was saturated.
    """
    for number, (store, part) in enumerate(frame.sort_values("users").groupby("store", sort=True)):
        look = _look(str(store), number)
        held, failed, unknown = (part[part["outcome"].eq(outcome)] for outcome in OUTCOMES)
        axes.plot(held["users"], held["p99_ms"], **look)
        axes.plot(failed["users"], failed["p99_ms"], "X", color=look["color"], markeredgecolor="#1c2024", markersize=10)
        ring: dict[str, Any] = {"marker": "o", "linestyle": "", "markerfacecolor": "none", "markersize": 9}
        axes.plot(unknown["users"], unknown["p99_ms"], markeredgecolor=look["color"], **ring)
    if objective_ms is not None:
        axes.axhline(objective_ms, color=_QUIET, linestyle=":")
        label = f"objective {objective_ms:g} ms"
        axes.annotate(label, (0.01, objective_ms), xycoords=("axes fraction", "data"), va="bottom")
    _logarithmic(axes, y=_milliseconds)
    axes.xaxis.set_major_formatter(FuncFormatter(_count))
    seen = set(frame["outcome"])
    words = {FAILED: "a cross: failed", NOT_MEASURABLE: "a ring: not measurable, the load generator was saturated"}
    marks = [text for outcome, text in words.items() if outcome in seen]
    axes.set_xlabel("connected users" + (f" ({'; '.join(marks)})" if marks else ""))
    axes.set_ylabel("99 % of messages came within")
    axes.set_title("; ".join(_capacity_of(frame)))
    _legend(axes)


def _capacity_of(frame: pd.DataFrame) -> list[str]:
    """The capacity of each store in words: ``PostgreSQL: at least 1,000 users``."""
    found = []
    for store, part in frame.groupby("store", sort=True):
        steps: list[Any] = part.to_dict("records")
        found.append(f"{_look(str(store), 0)['label']}: {answer(steps).words}")
    return found


@_picture()
def room_sizes(frame: pd.DataFrame, axes: Axes, *, column: str = "messages") -> None:
    """``Monitor.room_stats``: rooms from the largest to the smallest, both axes logarithmic; a power law is a line."""
    sizes = frame[column].astype("float64").sort_values(ascending=False).to_numpy()
    sizes = sizes[sizes > 0]
    axes.plot(np.arange(1, len(sizes) + 1), sizes, marker="o", linestyle="", markersize=4, color="#0072b2")
    _logarithmic(axes, x=_count, y=_count)
    axes.set_xlabel("rank of the room: 1 is the largest, logarithmic")
    axes.set_ylabel(f"{column.replace('_', ' ')} in the room, logarithmic")
    axes.set_title("How large the rooms are")


@_picture()
def read_lag(frame: pd.DataFrame, axes: Axes) -> None:
    """``Monitor.read_lag`` or ``delivery_lag``: the share of receipts that came within each time after the message."""
    values, shares = _cumulated(frame["lag_ms"].to_numpy(), np.ones(len(frame)))
    axes.step(values, shares, where="post", color="#0072b2", linestyle="-", marker="")
    for share, name in ((0.5, "half"), (0.95, "95 %")):
        at = float(values[np.searchsorted(shares, share)])
        axes.plot([at], [share], "o", color="#0072b2")
        label = f"{name} within {human(at, 'x_ms')}"
        axes.annotate(label, (at, share), (-10, 2), textcoords="offset points", ha="right", va="bottom")
    _logarithmic(axes, x=_milliseconds)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.01)
    axes.set_xlabel("time after the message, logarithmic")
    axes.set_ylabel("share of receipts")
    axes.set_title("How soon messages are read")


@_picture()
def table_sizes(frame: pd.DataFrame, axes: Axes, *, top: int = 10) -> None:
    """``Monitor.table_sizes``: each table's rows, indexes and the rest, stacked, the largest first."""
    largest = frame.nlargest(top, "size_bytes").iloc[::-1]
    left = np.zeros(len(largest))
    parts = (
        ("heap_bytes", "rows", "#0072b2", ""),
        ("indexes_bytes", "indexes", "#e69f00", "////"),
        ("toast_and_maps_bytes", "TOAST and maps", "#5a6470", "...."),
    )
    for column, name, colour, hatch in parts:
        widths = largest[column].to_numpy(dtype="float64")
        axes.barh(
            largest["table_name"].astype(str), widths, left=left, label=name, color=colour, hatch=hatch,
            edgecolor="white", height=0.65,
        )  # fmt: skip
        left += widths
    for row, total in enumerate(left):
        axes.annotate(human(float(total), "x_bytes"), (total, row), (6, 0), textcoords="offset points", va="center")
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MultipleLocator(2 ** np.ceil(np.log2(max(left.max(), 8) / 5))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: human(float(value), "x_bytes")))
    axes.set(xlabel="bytes on disk", title="Disk space of tables and their indexes")
    _legend(axes)


@_picture()
def pulse(frame: pd.DataFrame, axes: Axes) -> None:
    """``Watch.frame``: messages, commits and rows written per second over time."""
    seconds = frame["elapsed_ms"] / 1000
    rates = {
        "messages_per_second": "messages",
        "commits_per_second": "commits",
        "rows_inserted_per_second": "rows inserted",
    }
    for number, (column, name) in enumerate(rates.items()):
        axes.plot(seconds, frame[column], **(_look(name, number) | {"markersize": 4}))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_count))
    axes.set(xlabel="seconds since the start", ylabel="per second", title="What the database does each second")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.15)
    axes.legend(loc="upper center", ncols=3)


def _look(name: str, number: int) -> dict[str, Any]:
    if name in _LOOKS:
        return dict(_LOOKS[name])
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()
    _, many, senders = name.partition("store x")
    label = f"{senders} at a time" if many else _DEPTHS.get(name, name)
    return {key: values[number % len(values)] for key, values in cycle.items()} | {"label": label}


def _logarithmic(axes: Axes, *, x: _Text | None = None, y: _Text | None = None) -> None:
    """Make the axes that have a formatter logarithmic. One of fewer than three decades gets ticks at 1, 2 and 5."""
    for axis, text, scale in ((axes.xaxis, x, axes.set_xscale), (axes.yaxis, y, axes.set_yscale)):
        if text is None:
            continue
        scale("log")
        low, high = axis.get_view_interval()
        if high / low < 1000:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(text))
        axis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes) -> None:
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(loc="best")


def _legend_above(axes: Axes) -> None:
    """Put the legend in one line above the axes, where it hides no curve."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)


def _milliseconds(value: float, _position: object = None) -> str:
    """1 µs, 20 ms, 3 s."""
    if value <= 0:
        return "0"
    for limit, unit, factor in ((1, "µs", 1000.0), (1000, "ms", 1.0), (float("inf"), "s", 0.001)):
        if value < limit * 0.9999:
            return f"{value * factor:.3g} {unit}"
    return ""
