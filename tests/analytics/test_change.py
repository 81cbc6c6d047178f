"""Snapshots, the difference of two snapshots, and a watch that runs beside a load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd
import psycopg
import pytest

from chatsys.analytics import Monitor, diff
from chatsys.errors import OperatorError
from chatsys.store.address import with_database


@pytest.fixture
def statistics(url: str) -> Iterator[None]:
    """Reserve the server's statistics for this test: another test process could reset what this one reads."""
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(hashtext('statistics'))")
        yield


def change(monitor: Monitor, url: str, statements: int) -> pd.DataFrame:
    before = monitor.snapshot()
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(statements):
            connection.execute(
                "INSERT INTO messages (guest_id, room_id, message_text, seq) "
                "SELECT 'guest_1', room_id, 'hello', %s FROM rooms WHERE room_name = 'tech'",
                (number + 1,),
            )
            connection.execute("UPDATE rooms SET last_seq = last_seq + 1 WHERE room_name = 'tech'")
    while len(monitor.connections()):
        time.sleep(0.01)  # a connection reports its counters when it ends
    return diff(before, monitor.snapshot())


def counter(frame: pd.DataFrame, source: str, name: str, subject: str = "") -> pd.Series:
    (row,) = frame[frame["source"].eq(source) & frame["counter"].eq(name) & frame["object"].eq(subject)].index
    return frame.loc[row]


@pytest.mark.usefixtures("statistics")
def test_difference_shows_the_cost_of_a_message(monitor: Monitor, url: str) -> None:
    frame = change(monitor, url, 40)
    assert frame.attrs["messages"] == 40
    messages = counter(frame, "table_activity", "rows_inserted_total", "public messages")
    assert (messages["delta"], messages["per_message"]) == (40, 1)
    assert messages["per_second"] == pytest.approx(40 / frame.attrs["seconds"])
    commits = counter(frame, "throughput", "commits_total")
    assert commits["per_message"] >= 2  # the two statements and the monitor's own queries
    assert counter(frame, "wal", "wal_bytes_total")["per_message"] > 100
    assert not frame["is_reset"].any()


@pytest.mark.usefixtures("statistics")
def test_counter_reset_is_reported_and_not_counted(monitor: Monitor, url: str) -> None:
    change(monitor, url, 5)
    before = monitor.snapshot()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_reset()")
        connection.execute("SELECT pg_stat_reset_shared('wal')")
    frame = diff(before, monitor.snapshot())
    for source, name, subject in [
        ("throughput", "commits_total", ""),
        ("wal", "records_total", ""),
        ("table_activity", "rows_inserted_total", "public messages"),
    ]:
        row = counter(frame, source, name, subject)
        assert bool(row["is_reset"]), name
        assert pd.isna(row["delta"])
        assert pd.isna(row["per_second"])
    assert not bool(counter(frame, "chat_totals", "messages_total")["is_reset"])


def test_server_restart_resets_every_counter_except_the_tables(monitor: Monitor) -> None:
    before = monitor.snapshot()
    after = replace(monitor.snapshot(), server_started_at="later")
    frame = diff(before, after)
    assert frame.loc[frame["source"].ne("chat_totals"), "is_reset"].all()
    assert counter(frame, "chat_totals", "messages_total")["delta"] == 0


def test_difference_without_messages_or_time_has_no_cost(monitor: Monitor) -> None:
    before = monitor.snapshot()
    frame = diff(before, before)
    assert frame["per_message"].isna().all()
    assert frame["per_second"].isna().all()
    later = diff(before, replace(before, taken_at=before.taken_at + timedelta(seconds=2)))
    assert (later["per_second"] == 0).all()


def test_watch_gives_one_time_series_of_the_load(monitor: Monitor, url: str, writers: Any) -> None:
    with writers(url) as stored, monitor.watch(every=0.1) as watch:
        while stored() < 200 or len(watch.frame()) < 5:
            time.sleep(0.05)
    frame = watch.frame()
    assert watch.failures == []
    assert frame["taken_at"].is_monotonic_increasing
    assert frame["elapsed_ms"].iloc[0] == 0
    assert frame["messages_total"].iloc[-1] >= 200
    assert frame["messages_per_second"].iloc[1:].ge(0).all()
    assert frame["messages_per_second"].max() > 0
    assert pd.isna(frame["messages_per_second"].iloc[0])
    assert frame["connections"].max() == 2


def test_watch_with_a_duration_ends_by_itself(monitor: Monitor) -> None:
    with monitor.watch(seconds=0.4, every=0.2) as watch:
        watch.wait()
    assert 1 <= len(watch.frame()) <= 3  # a late sample replaces the ones that it missed


def test_watch_without_samples_has_the_same_columns(monitor: Monitor) -> None:
    with monitor.watch(every=0.1) as watch:
        pass
    seen, empty = watch.frame(), monitor.watch().frame()
    assert len(empty) == 0
    assert dict(empty.dtypes) == dict(seen.dtypes)


@pytest.mark.process
def test_failed_sample_leaves_a_gap_and_is_counted() -> None:
    with Monitor("postgresql://127.0.0.1:1/nothing") as monitor, monitor.watch(seconds=0.1, every=0.05) as watch:
        watch.wait()
    assert len(watch.frame()) == 0
    assert "Nothing answers" in watch.failures[0]


def test_watch_without_a_positive_interval_is_refused(monitor: Monitor) -> None:
    with pytest.raises(OperatorError):
        monitor.watch(every=0)
