"""``chatsys monitor`` shows the monitor's frames in the terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from chatsys.analytics import Monitor, sql
from chatsys.analytics.catalogue import QUERIES


def run(url: str, *arguments: str, columns: int = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chatsys", "monitor", *arguments, "--database-url", url]
    environ = {**os.environ, "NO_COLOR": "1", "COLUMNS": str(columns)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


def test_table_output_is_formatted_for_people(chat: Monitor, url: str) -> None:
    done = run(url, "room_stats")
    assert (done.returncode, done.stderr) == (0, "")
    assert "general" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_terminal_of_any_width_gets_one_line_per_row(chat: Monitor, url: str, columns: int) -> None:
    shown = run(url, "room_stats", columns=columns).stdout.splitlines()
    assert max(len(line) for line in shown) <= columns
    assert len(shown) <= 10
    assert "general" in shown[-4] + shown[-3] + shown[-5]


def test_parameters_of_a_query_are_options(chat: Monitor, url: str) -> None:
    rows = run(url, "growth", "--days", "7", "--format", "csv").stdout.splitlines()
    assert len(rows) == 1 + 7
    assert len(run(url, "delivery_lag", "--messages", "7", "--limit", "3", "--format", "csv").stdout.splitlines()) == 4
    refused = run(url, "growth", "--minutes", "7")
    assert refused.returncode == 1
    assert "growth has no parameter 'minutes'. It takes days." in refused.stderr


def test_parquet_holds_the_frame_with_its_types(chat: Monitor, url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chatsys", "monitor", "room_stats", "--format", "parquet", "--database-url", url]
    (tmp_path / "rooms.parquet").write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    found = pd.read_parquet(tmp_path / "rooms.parquet")
    assert found["messages"].to_list() == [90, 10, 0]
    assert str(found["created_at"].dtype) == "datetime64[us, UTC]"
    assert "one file of one query" in run(url, "--format", "parquet").stderr


@pytest.mark.process
def test_explanation_needs_no_database() -> None:
    done = run("postgresql://127.0.0.1:1/x", "read_lag", "--explain", columns=80)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("Decision: How long until people read?", "lag_ms", "--minutes (default 60)", "FROM newest m"):
        assert words in done.stdout
    narrow = run("postgresql://127.0.0.1:1/x", "pulse", "--explain", columns=60).stdout
    assert narrow.endswith(sql.sql_file("pulse", 18).read_text(encoding="utf-8"))  # printed whole, to be copied


def test_empty_result_is_stated_in_words(monitor: Monitor, url: str) -> None:
    assert run(url, "blocking").stdout == "blocking: no rows\n"


def test_monitor_without_a_query_prints_an_overview(chat: Monitor, url: str) -> None:
    done = run(url)
    assert "pulse" in done.stdout
    assert "chat_totals" in done.stdout


def test_csv_and_json_carry_the_same_rows(chat: Monitor, url: str) -> None:
    rows = list(csv.DictReader(io.StringIO(run(url, "room_stats", "--format", "csv").stdout)))
    objects = [json.loads(line) for line in run(url, "room_stats", "--format", "json").stdout.splitlines()]
    assert [row["room_name"] for row in rows] == [each["room_name"] for each in objects]
    assert [int(row["messages"]) for row in rows] == [each["messages"] for each in objects] == [90, 10, 0]
    assert list(rows[0]) == [column.name for column in QUERIES["room_stats"].columns]
    assert objects[0]["created_at"].endswith("Z")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_writes_until_it_is_stopped(postgres_url: str, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "chatsys", "monitor", "pulse", "--watch", "--every", "0.1", "--format", "json"]
    with subprocess.Popen([*command, "--database-url", postgres_url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(number)
        process.stdout.read()
    assert seen[0]["taken_at"] < seen[1]["taken_at"] < seen[2]["taken_at"]
    assert process.returncode == 130
    assert seen[0]["commits_per_second"] is None
    assert seen[2]["commits_per_second"] >= 0


def test_missing_parts_are_reported_on_standard_error(restricted_url: str) -> None:
    done = run(restricted_url, "room_stats", "--format", "csv")
    assert done.returncode == 0
    assert done.stdout.startswith("room_id,room_name")
    assert "GRANT SELECT" in done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense", "--database-url", "postgresql://127.0.0.1:1/x"], "There is no monitoring query 'nonsense'."),
        (["pulse", "--database-url", "postgresql://127.0.0.1:1/x"], "Start PostgreSQL"),
        (["pulse", "--database-url", "memory://"], "The memory store has no database to monitor."),
    ],
)
def test_user_mistake_is_explained_in_one_sentence(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "chatsys", "monitor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
