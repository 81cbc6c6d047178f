"""Every picture is drawn from a frame, on the given Axes, in the common style."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from chatsys.analytics import plots

SECONDS = np.arange(10) * 1000.0
FRAMES: dict[str, tuple[Callable[..., Axes], pd.DataFrame, dict[str, object]]] = {
    "operations": (
        plots.operations,
        pd.DataFrame({"operation": ["send_message"] * 2, "store": ["memory", "postgresql"], "depth": ["store"] * 2,
                      "p50_ms": [0.01, 0.4], "p99_ms": [0.03, 1.2]}),
        {},
    ),
    "ecdf": (plots.ecdf, pd.DataFrame({"subject": ["memory"] * 9, "latency_ms": np.arange(1, 10.0)}), {}),
    "growth": (
        plots.growth,
        pd.DataFrame({"operation": ["search_users"] * 3, "store": ["memory"] * 3, "size": [10, 100, 1000],
                      "p50_ms": [1.0, 10.0, 100.0]}),
        {"operation": "search_users"},
    ),
    "durability": (
        plots.durability,
        pd.DataFrame({"subject": ["memory", "fsync"], "value": [9.0, 3.0], "low": [8.0, np.nan], "high": [10.0, np.nan],
                      "metric": ["messages"] * 2, "unit": ["1/s"] * 2}),
        {},
    ),
    "timeline": (
        plots.timeline,
        pd.DataFrame({"elapsed_ms": SECONDS, "users": 5.0, "push_p50_ms": 1.0, "push_p99_ms": 9.0,
                      "push_per_second": 100.0, "commits_per_second": 7.0}),
        {"title": "a run"},
    ),
    "capacity": (
        plots.capacity,
        pd.DataFrame({"store": ["memory"] * 3, "users": [10, 20, 30], "p99_ms": [5.0, 500.0, 9.0],
                      "outcome": ["held", "failed", "not measurable"], "limit": ["", "latency", ""],
                      "failures": 0, "deviations": 0}),
        {"objective_ms": 200.0},
    ),
    "distance": (
        plots.distance,
        pd.DataFrame({"subject": "send_message", "metric": "p50", "x": [90.0, 1_100.0], "value": [300.0, 1_500.0]}),
        {},
    ),
    "room_sizes": (plots.room_sizes, pd.DataFrame({"messages": [100, 50, 10, 0]}), {}),
    "read_lag": (plots.read_lag, pd.DataFrame({"lag_ms": np.arange(1, 100.0)}), {}),
    "table_sizes": (
        plots.table_sizes,
        pd.DataFrame({"table_name": ["a", "b"], "size_bytes": [300, 30], "heap_bytes": [100, 10],
                      "indexes_bytes": [150, 15], "toast_and_maps_bytes": [50, 5]}),
        {},
    ),
    "pulse": (
        plots.pulse,
        pd.DataFrame({"elapsed_ms": SECONDS, "messages_per_second": 9.0, "commits_per_second": 3.0,
                      "rows_inserted_per_second": 20.0}),
        {},
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        plt.switch_backend("agg")
        yield
    plt.close("all")


@pytest.mark.parametrize("name", FRAMES)
def test_picture_names_what_it_shows(name: str) -> None:
    draw, frame, options = FRAMES[name]
    axes = draw(frame, **options)
    axes.figure.canvas.draw()
    assert axes.get_title(loc="left")
    texts = [each.get_xlabel() for each in axes.figure.axes] + [each.get_ylabel() for each in axes.figure.axes]
    assert any(texts)


@pytest.mark.parametrize("name", FRAMES)
def test_picture_is_drawn_on_the_given_axes(name: str) -> None:
    draw, frame, options = FRAMES[name]
    figure, axes = plt.subplots()
    assert draw(frame, ax=axes, **options) is axes
    assert axes.figure is figure


@pytest.mark.parametrize("name", FRAMES)
def test_picture_of_an_empty_frame_says_so(name: str) -> None:
    draw, frame, options = FRAMES[name]
    axes = draw(frame.iloc[:0], **options)
    assert [text.get_text() for text in axes.texts] == ["nothing was measured"]


def test_drawing_leaves_the_global_style_unchanged() -> None:
    before = dict(mpl.rcParams)
    plots.read_lag(FRAMES["read_lag"][1])
    assert dict(mpl.rcParams) == before


def test_fitted_line_has_the_exponent_of_the_fit() -> None:
    _, frame, options = FRAMES["growth"]
    fits = pd.DataFrame({"operation": ["search_users"], "store": ["memory"], "exponent": [1.0]})
    axes = plots.growth(frame, fits=fits, **options)
    assert "n^1.00" in axes.get_legend_handles_labels()[1][0]
    assert axes.lines[0].get_ydata() == pytest.approx([1.0, 10.0, 100.0])
