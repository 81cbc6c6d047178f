"""How a terminal shows a frame: the most important columns that fit, and the outstanding rows of a long one."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from chatsys.analytics.catalogue import QUERIES
from chatsys.analytics.catalogue.priorities import PRIORITIES, WORST
from chatsys.analytics.frames import frame_of
from chatsys.analytics.rates import rates
from chatsys.analytics.screen import LONG, Shown

VALUES: dict[str, Any] = {
    "text": "a text of a certain length, as statements are",
    "integer": 17_692_351,
    "number": 0.4321,
    "boolean": True,
    "time": pd.Timestamp("2026-01-02 03:04:05", tz="UTC"),
}


def frame(name: str, rows: int, **values: list[Any]) -> pd.DataFrame:
    """Return a frame of a query with this many rows; ``values`` fills a column."""
    query = QUERIES[name]
    columns = [values.get(column.name) or [VALUES[column.kind]] * rows for column in query.columns]
    made = frame_of(query, list(zip(*columns, strict=True)))
    made.attrs = {"query": name, "taken_at": "2026-01-01T00:00:00+00:00"}
    return made


def shown(made: pd.DataFrame, width: int, **options: Any) -> list[str]:
    """Return the lines that a terminal of this width shows."""
    console = Console(file=io.StringIO(), width=width)
    console.print(Shown(made, **options))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", QUERIES)
def test_each_query_fits_the_terminal_with_one_line_per_row(name: str, width: int) -> None:
    lines = shown(frame(name, 10), width)
    assert max(len(line) for line in lines) <= width
    assert len(lines) < 10 + 15
    first = PRIORITIES.get(name, [QUERIES[name].columns[0].name])[0]
    assert first not in " ".join(lines).partition(" more: ")[2].replace(",", " ").split()


def test_columns_that_do_not_fit_are_named_and_wide_shows_them() -> None:
    made = frame("connections", 3)
    narrow = shown(made, 60)
    assert "pid" in narrow[2]
    left = " ".join(narrow).partition(" more: ")[2]
    assert "user_name" in left
    assert "--wide" in left
    wide = shown(made, 1_000, wide=True)
    assert "more:" not in " ".join(wide)
    assert VALUES["text"] in wide[-1]


def test_single_row_is_shown_vertically() -> None:
    lines = shown(frame("pulse", 1, connections=[3], longest_transaction_ms=[1.5]), 60)
    assert len(lines) == 3 + len(QUERIES["pulse"].columns)
    assert lines[3].split() == ["connections", "3"]  # a count beside fractions keeps its integer format


def test_summary_of_a_count_has_an_integer_maximum() -> None:
    made = frame("room_stats", LONG + 1, messages=[3] * (LONG + 1))
    (messages,) = [line for line in shown(made, 120) if line.startswith("messages ")]
    assert messages.split()[-1] == "3"


def test_long_frame_is_summarised_and_shows_the_worst_ten_rows() -> None:
    count = 141_604
    lags = [float(n) for n in range(count)]
    lines = shown(frame("read_lag", count, lag_ms=lags), 80)
    assert len(lines) < 25
    (lag,) = [line for line in lines if line.startswith("lag ")]
    assert lag.split() == ["lag", "141,604", "70.8", "s", "2.24", "min", "2.36", "min"]
    assert "The 10 largest by lag" in lines
    assert sum("a text of" in line for line in lines) == 10
    assert len(shown(frame("read_lag", 100), 80, limit=70)) >= 70


def test_summary_begins_when_the_rows_exceed_the_screen() -> None:
    assert "summarised" not in shown(frame("sessions", LONG), 80)[0]
    assert "summarised" in shown(frame("sessions", LONG + 1), 80)[0]


def test_statement_is_shown_without_its_leading_comment() -> None:
    made = frame("running_queries", 2, query=["-- why this is done\nSELECT 1", "/* sqlcommenter */ SELECT 2"])
    lines = shown(made, 120)
    assert [line.split()[-2:] for line in lines[-3:-1]] == [["SELECT", "1"], ["SELECT", "2"]]


def test_priorities_name_queries_and_columns_that_exist() -> None:
    for name, columns in PRIORITIES.items():
        assert set(columns) <= {column.name for column in QUERIES[name].columns}, name
    for name, column in WORST.items():
        assert column in PRIORITIES.get(name, [c.name for c in QUERIES[name].columns])


def test_rates_replace_totals() -> None:
    before, after = frame("pulse", 1, commits_total=[1_000]), frame("pulse", 1, commits_total=[1_500])
    after.attrs["taken_at"] = "2026-01-01T00:00:10+00:00"
    found = rates(before, after)
    assert found["commits_per_second"].to_list() == [50.0]
    assert not [name for name in found if str(name).endswith("_total")]
    assert found["connections"].to_list() == [17_692_351]
    assert rates(None, after)["commits_per_second"].isna().all()
    assert rates(after, before)["commits_per_second"].isna().all()
    assert rates(before, after, keep_totals=True)["commits_total"].to_list() == [1_500]


def test_rates_compare_the_same_object() -> None:
    names = {"schema_name": ["public"] * 2, "table_name": ["a", "b"]}
    before = frame("table_activity", 2, **names, rows_inserted_total=[10, 20])
    after = frame("table_activity", 2, schema_name=["public"] * 2, table_name=["b", "c"], rows_inserted_total=[40, 7])
    after.attrs["taken_at"] = "2026-01-01T00:00:02+00:00"
    found = rates(before, after)["rows_inserted_per_second"]
    assert found.iloc[0] == 10.0
    assert pd.isna(found.iloc[1])
