"""The live screen: rates between two samples, highlighted thresholds, keys, and a constant size."""

from __future__ import annotations

import http.server
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from sqlalchemy import text

from chatsys.analytics import Monitor
from chatsys.analytics.catalogue import QUERIES
from chatsys.analytics.frames import frame_of
from chatsys.analytics.top import FIGURES, Level, Look, Looker, ScreenState, screen
from chatsys.analytics.top.looking import PANE_QUERIES
from chatsys.analytics.top.running import pressed
from chatsys.analytics.top.serving import metrics, quantile
from tests.analytics.conftest import Writers
from tests.terminals import Terminal

NOW = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - only shown


def look(at: float, pane: str = "rooms", server: dict[str, float] | None = None, **database: float) -> Look:
    query = QUERIES[PANE_QUERIES[pane][0]]
    cell = {"text": "a name", "integer": 7, "number": 0.5, "boolean": True, "time": pd.Timestamp(0, tz="UTC")}
    frame = frame_of(query, [[cell[c.kind] for c in query.columns]] * 60)
    frame.attrs = {"query": query.name}
    return Look(at, {name.replace("__", "."): value for name, value in database.items()}, server, at / 10, frame)


def drawn(before: Look, after: Look, state: ScreenState, width: int = 80, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(screen(before, after, state, title="chatsys top  chatdb", now=NOW, width=width, height=height))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 24), (120, 50)])
@pytest.mark.parametrize(
    "state", [ScreenState(), ScreenState(pane="queries"), ScreenState(pane="blocking"), ScreenState(help=True)]
)
def test_screen_keeps_its_size(width: int, height: int, state: ScreenState) -> None:
    lines = drawn(look(0, state.pane), look(2, state.pane), state, width, height)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    if not state.help:
        assert lines[-1].startswith("q quit")
        assert sum("a name" in line or "0.5" in line or " 7 " in line for line in lines) >= 2


def test_counters_are_shown_as_rates() -> None:
    before = look(10, pulse__commits_total=1_000, chat_totals__messages_total=50, message_reads__rows_inserted_total=0)
    after = look(12, pulse__commits_total=1_300, chat_totals__messages_total=57, message_reads__rows_inserted_total=80)
    shown = " ".join(drawn(before, after, ScreenState()))
    for words in ("commits 150/s", "messages 3.5/s", "reads 40/s", "cpu 10.0 %"):
        assert words in shown
    assert "commits -" in " ".join(drawn(after, before, ScreenState()))  # a counter that decreased


def test_value_past_its_threshold_is_highlighted_and_explained() -> None:
    after = look(2, pulse__lock_waits=12, pulse__longest_transaction_ms=11_000, chat_totals__servers=0)
    lines = drawn(look(0), after, ScreenState())
    assert "lock waits 12!!" in " ".join(lines)
    flagged = [line for line in lines if re.match("!", line)]
    assert flagged == [
        "!! chat servers 0: no server has a valid lease: nobody can chat",
        "!! backends lock waits 12: pane 3 shows who waits for whom",
        "!  backends longest tx 11.0 s: holds locks, delays VACUUM: see pane 2",
    ]


def test_every_threshold_is_in_the_help_and_fits() -> None:
    lines = drawn(look(0), look(2), ScreenState(help=True))
    judged = [figure for figure in FIGURES if figure.warn is not None]
    assert all(figure.means and figure.bad is not None for figure in judged)
    for figure in judged:
        (line,) = [line for line in lines if line.startswith(f"{figure.group} {figure.name} ")]
        assert line.rstrip().endswith(figure.means)
    assert FIGURES[0].level(10.0**9) is Level.good


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("q", ScreenState(done=True)),
        (" ", ScreenState(paused=True)),
        ("  ", ScreenState()),
        ("2s", ScreenState(pane="queries", sort=1)),
        ("sr", ScreenState(sort=1, reverse=True)),
        ("h1", ScreenState()),
        ("+", ScreenState(every=4.0)),
        ("-----", ScreenState(every=0.5)),
        ("x", ScreenState()),
    ],
)
def test_keys_change_the_state_of_the_screen(keys: str, expected: ScreenState) -> None:
    state = ScreenState()
    for key in keys:
        state = pressed(state, key)
    assert state == expected


def test_pane_without_data_says_that_it_is_waiting() -> None:
    assert "Loading." in drawn(look(0), look(2), ScreenState(pane="queries"))


def test_pane_is_sorted_by_the_chosen_column() -> None:
    after = look(2)
    after.pane["senders"] = range(60)
    lines = drawn(look(0), after, ScreenState(sort=1), 120)
    (title,) = [number for number, line in enumerate(lines) if line.startswith("rooms, 60, by senders")]
    rows = [line for line in lines[title:] if "a name" in line]
    assert [int(re.search(r" (\d\d) ", row)[1]) for row in rows] == list(range(59, 59 - len(rows), -1))  # type: ignore[index]


def bucket(bound: str) -> str:
    return f"chatsys_flush_seconds_bucket{{{bound}}}"


def test_percentiles_cover_the_time_between_two_samples() -> None:
    before = {bucket("0.001"): 100.0, bucket("0.01"): 100.0, bucket("+Inf"): 100.0}
    after = {bucket("0.001"): 100.0, bucket("0.01"): 200.0, bucket("+Inf"): 200.0}
    assert quantile(before, after, "chatsys_flush_seconds", 0.5) == pytest.approx(0.0055)
    labelled = {name.replace("_bucket", "_bucket/send-message"): value for name, value in after.items()}
    assert quantile({}, labelled, "chatsys_flush_seconds", 0.5, "send-message") == pytest.approx(0.001)
    assert quantile({}, labelled, "chatsys_flush_seconds", 0.5) is None
    assert quantile(after, after, "chatsys_flush_seconds", 0.5) is None
    assert quantile({}, {bucket("0.01"): 0.0, bucket("+Inf"): 5.0}, "chatsys_flush_seconds", 0.99) == 0.01


@contextmanager
def serving(page: str) -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def test_screen_reads_the_metrics_of_the_server() -> None:
    page = '# TYPE chatsys_flush_seconds histogram\nchatsys_flush_seconds_bucket{le="+Inf"} 3\nchatsys_connections 7\n'
    with serving(page) as url:
        assert metrics(url) == {bucket("+Inf"): 3.0, "chatsys_connections": 7.0}
    assert metrics("http://127.0.0.1:9") is None
    with serving("no metrics {") as url:
        assert metrics(url) is None


def test_database_cpu_time_includes_ended_connections(chat: Monitor) -> None:
    looker = Looker(chat, "http://127.0.0.1:9")
    busy = "SELECT count(*) FROM generate_series(1, 3000000)"
    before = looker.look("rooms").database_cpu
    with chat.engine.connect() as connection:
        connection.execute(text(busy))
        connection.invalidate()
    after = looker.look("rooms").database_cpu
    assert before is not None
    assert after is not None
    assert after - before > 0.1


def test_sample_holds_every_figure_of_the_database(chat: Monitor) -> None:
    looker = Looker(chat, "http://127.0.0.1:9")
    before, after = looker.look("rooms"), looker.look("rooms")
    values = {f"{figure.group} {figure.name}": figure.get(before, after) for figure in FIGURES}
    missing = {name for name, value in values.items() if value is None}
    assert {name for name in missing if not name.startswith("server ")} <= {
        "backends longest tx", "lag delivery p50", "lag delivery p99", "lag reader p50", "lag reader p99",
        "database cache",
    }  # fmt: skip
    assert values["chat sessions"] == 3
    assert values["database cpu"] is not None


def test_without_a_terminal_one_screen_is_printed(chat: Monitor, url: str) -> None:
    command = [sys.executable, "-m", "chatsys", "top", url, "--every", "0.5"]
    environ = {**os.environ, "COLUMNS": "60"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(len(line) for line in done.stdout.splitlines()) <= 60
    assert "sessions 3" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_screen_runs_until_a_key_and_restores_the_terminal(postgres_url: str, key: str) -> None:
    with Terminal("top", postgres_url, "--every", "0.5", NO_COLOR="1") as terminal:
        terminal.until("q quit")
        if key == "q":
            terminal.press(key)
        else:
            terminal.interrupt()
        assert terminal.end() == (0 if key == "q" else 130)
        assert terminal.is_as_it_was
    assert "commits" in terminal.text
    assert re.search(r"\x1b\[(3|4|9)\d", terminal.raw) is None  # NO_COLOR


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("top",), "q quit"), (("monitor", "pulse", "--watch", "--database-url"), "connections")],
    ids=["top", "watch"],
)
def test_screen_ends_when_its_terminal_disappears(postgres_url: str, arguments: tuple[str, ...], words: str) -> None:
    with Terminal(*arguments, postgres_url, "--every", "0.5") as terminal:
        terminal.until(words)
        terminal.hang_up()
        terminal.process.wait(60)


def test_keys_pause_sort_and_explain_the_screen(postgres_url: str, writers: Writers) -> None:
    with writers(postgres_url), Terminal("top", postgres_url, "--every", "0.5") as terminal:
        terminal.until("rooms, 1, by messages", "random")
        terminal.press("s")
        terminal.until("rooms, 1, by senders")
        terminal.press("2")
        terminal.until("queries, ", "by running_ms")
        terminal.press(" ")
        terminal.until("PAUSED every 0.5 s")
        terminal.press("+")
        terminal.until("PAUSED every 1 s")
        terminal.press("h")
        terminal.until("s  sort by the next column", "! past the first number")
        assert [line for line in terminal.screen.splitlines() if len(line) > 80] == []
        assert len(terminal.screen.splitlines()) <= 24
        terminal.press("h q")
        assert terminal.end() == 0
