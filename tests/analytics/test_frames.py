"""Every query returns the frame that the catalogue declares, whatever the server, the rows and the role."""

from __future__ import annotations

import re
import time
import warnings
from typing import Any

import pandas as pd
import psycopg
import pytest

from chatsys.analytics import Monitor, MonitorWarning
from chatsys.analytics.catalogue import QUERIES, Query

from .helpers import DECLARED, dtypes, every_helper

NAMED = re.compile(r"(_bytes|_ms|_ratio|_per_second)(_total)?$")


def test_empty_database_gives_the_declared_columns(monitor: Monitor) -> None:
    found = every_helper(monitor)
    assert dtypes(found) == DECLARED
    for name in ("active_users", "read_lag", "busiest_rooms", "sessions", "orphans", "blocking"):
        assert found[name].empty, name


def test_chat_gives_the_declared_columns(chat: Monitor) -> None:
    found = every_helper(chat)
    assert dtypes(found) == DECLARED
    for name, query in QUERIES.items():
        if "chat" in query.needs or "pg_stat_statements" in query.needs:
            assert len(found[name]) > 0, name


def test_database_under_load_gives_the_declared_columns(url: str, monitor: Monitor, writers: Any) -> None:
    with writers(url) as stored:
        while stored() < 100:
            time.sleep(0.01)
        assert dtypes(every_helper(monitor)) == DECLARED
        seen = monitor.connections()
    assert set(seen["application_name"]) == {"writer 0", "writer 1"}


def test_role_with_few_rights_gets_the_columns_and_the_missing_grants(restricted_url: str) -> None:
    with Monitor(restricted_url) as monitor:
        assert dtypes(every_helper(monitor)) == DECLARED
        role = monitor.settings().attrs["role"]
        for name, remedy in {
            "room_stats": f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
            "connections": f"GRANT pg_read_all_stats TO {role}",
            "slow_queries": "CREATE EXTENSION pg_stat_statements",
        }.items():
            with pytest.warns(MonitorWarning, match=re.escape(remedy)):
                frame = monitor.frame(name)
            assert frame.empty
            assert remedy in frame.attrs["warnings"][0]


def test_role_with_few_rights_gets_the_columns_of_a_chat_in_use(
    chat: Monitor, restricted_url: str, url: str, writers: Any
) -> None:
    with writers(url) as stored, Monitor(restricted_url) as monitor:
        while not stored():
            time.sleep(0.01)
        found = every_helper(monitor)
        with pytest.warns(MonitorWarning, match="activity is hidden"):
            slow = monitor.slow_queries()
    assert dtypes(found) == DECLARED
    assert not slow["query"].str.contains("INSERT").any()


def test_role_with_pg_monitor_and_select_sees_everything(chat: Monitor, url: str, restricted_url: str) -> None:
    role = restricted_url.split("//")[1].split("@", maxsplit=1)[0]
    with psycopg.connect(url) as admin:
        admin.execute(f"GRANT pg_monitor TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    with Monitor(restricted_url) as monitor, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert monitor.room_stats().equals(chat.room_stats())
        for name in QUERIES:
            assert monitor.frame(name).attrs["warnings"] == []


def test_database_without_the_chat_says_how_to_create_it(empty_postgres_url: str) -> None:
    with Monitor(empty_postgres_url) as monitor:
        assert dtypes(every_helper(monitor)) == DECLARED
        with pytest.warns(MonitorWarning, match="chatsys db init"):
            assert monitor.room_stats().empty


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_units_are_in_the_names(query: Query) -> None:
    for column in query.columns:
        if NAMED.search(column.name):
            assert column.unit in {"bytes", "milliseconds", "0 to 1", "per second"}
            assert column.kind in {"integer", "number"}
        if column.kind == "time":
            assert column.unit == "UTC"
        if column.is_counter:
            assert column.kind in {"integer", "number"}


def test_ratios_are_between_0_and_1_and_times_are_utc(chat: Monitor) -> None:
    for frame in every_helper(chat).values():
        for name in frame.columns:
            if str(name).endswith("_ratio"):
                assert frame[name].dropna().between(0, 1).all(), name
            if str(frame[name].dtype).startswith("datetime"):
                assert str(frame[name].dt.tz) == "UTC"


def test_no_cell_is_a_formatted_string(chat: Monitor) -> None:
    found = every_helper(chat)
    for name, query in QUERIES.items():
        for column in query.columns:
            if column.kind == "text" and column.name not in ("value", "default_value", "unit", "query"):
                assert not found[name][column.name].dropna().str.fullmatch(r"[\d.]+ ?(kB|MB|GB|bytes|ms|%)").any()


def test_frame_provenance_says_where_the_frame_came_from(chat: Monitor) -> None:
    attrs = chat.growth(days=3).attrs
    assert attrs["query"] == "growth"
    assert attrs["parameters"] == {"days": 3}
    assert attrs["sql_file"] == "monitoring/growth.sql"
    assert attrs["server"].startswith("PostgreSQL 1")
    assert attrs["database"].startswith("scratch_")
    assert attrs["warnings"] == []
    assert pd.Timestamp(attrs["taken_at"]).tzinfo is not None
    assert attrs["took_ms"] > 0
