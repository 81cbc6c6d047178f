"""What the monitor exports: Arrow, Polars, HTML, one figure, and a recording beside an external load test."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import psycopg
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from chatsys.analytics import Monitor, runs
from chatsys.analytics.dashboard import gist
from chatsys.analytics.recording import record
from chatsys.errors import MissingExtra, OperatorError
from tests.db.conftest import chatsys

mpl.use("agg")


def test_arrow_and_polars_exports_hold_the_same_rows(chat: Monitor) -> None:
    frame = chat.room_stats()
    table = chat.arrow("room_stats")
    assert table.column("messages").to_pylist() == frame["messages"].to_list()
    assert str(table.schema.field("created_at").type) == "timestamp[us, tz=UTC]"
    found = chat.polars("room_stats")
    assert found["room_name"].to_list() == frame["room_name"].to_list()
    assert chat.arrow("growth", days=7).num_rows == 7


def test_export_without_polars_says_how_to_install_it(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtra, match=r"pip install 'chatsys\[polars\]'"):
        monitor.polars("pulse")


def test_notebook_shows_the_database_of_a_monitor_and_its_state(chat: Monitor, url: str) -> None:
    html = chat._repr_html_()
    assert "<td style='text-align:left'>messages</td><td style='text-align:right'>100</td>" in html
    assert chat.address.database in html
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DROP TABLE rooms CASCADE")
    assert "run `chatsys db init`" in chat._repr_html_()
    unreachable = Monitor("postgresql://ann@127.0.0.1:9/x?options=%3Cb%3E")
    assert "Nothing answers at the database&#x27;s address 127.0.0.1:9." in unreachable._repr_html_()


def test_dashboard_is_one_figure_even_for_an_empty_database(
    chat: Monitor, postgres_url: str, empty_postgres_url: str
) -> None:
    with Monitor(postgres_url) as silent, Monitor(empty_postgres_url) as empty:
        figures = [monitor.dashboard() for monitor in (chat, silent, empty)]
    assert all(isinstance(figure, Figure) for figure in figures)
    titles = {axes.get_title(loc="left") for axes in figures[0].axes}
    assert {"Messages a minute", "Connections by state", "Time of statements"} <= titles
    for figure in figures:
        figure.savefig(io.BytesIO())
    said = {text.get_text() for axes in figures[2].axes for text in axes.texts}
    assert "this database has no chat tables: run `chatsys\ndb init`." in said


def test_dashboard_texts_stay_inside_the_picture(chat: Monitor) -> None:
    figure = chat.dashboard()
    figure.canvas.draw()
    whole = figure.bbox
    for axes in figure.axes:
        of_time = axes.get_xticklabels(which="both")  # texts outside the axes are not drawn
        for text in (each for each in axes.findobj(Text) if each.get_text() and each not in of_time):
            box = text.get_window_extent()
            assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, text.get_text()


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("WITH a AS (UPDATE rooms SET n = 1 RETURNING *) INSERT INTO messages SELECT", "UPDATE rooms, INSERT messages"),
        ("DELETE FROM users WHERE x", "DELETE users"),
        ("SELECT * FROM unnest($1) u JOIN x ON true, (SELECT 1 FROM rooms) r", "SELECT rooms"),
        ("VACUUM  users", "VACUUM users"),
    ],
)
def test_statement_is_named_by_what_it_writes_or_reads(statement: str, shown: str) -> None:
    assert gist(statement) == shown


HISTORY = """Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,95%,99%,100%,Total Request Count
{0},10,,Aggregated,5.0,0.0,12,13,20,30,40,5
{0},10,GET,/api/rooms,5.0,0.0,12,13,20,30,40,5
{1},20,,Aggregated,9.5,0.5,N/A,N/A,N/A,N/A,40,15
{2},20,,Aggregated,9.5,0.5,12,13,20,30,40,15
"""


def test_recording_is_read_back_and_joined_with_locust_by_time(chat: Monitor, tmp_path: Path) -> None:
    record(chat, tmp_path / "run", 0.5, every=0.1)
    run = runs.load_run(tmp_path / "run")
    assert (run.kind, run.is_valid) == ("monitoring", True)
    watched = runs.monitored(run, "watch")
    assert len(watched) >= 1
    began = int(watched["taken_at"].iloc[0].timestamp())
    history = tmp_path / "load_stats_history.csv"
    history.write_text(HISTORY.format(began, began + 1, began + 600))
    joined = runs.beside_locust(run, history)
    assert joined["users"].to_list() == [10, 20, 20]
    assert joined["p99_ms"].iloc[0] == 30
    assert pd.isna(joined["p99_ms"].iloc[1])
    assert joined["commits_total"].notna().to_list() == [True, True, False]
    history.write_text("a,b\n1,2\n")
    with pytest.raises(OperatorError, match="not a history file of Locust"):
        runs.beside_locust(run, history)


def test_record_command_keeps_an_older_run(postgres_url: str, tmp_path: Path) -> None:
    command = ("monitor", "record", str(tmp_path), "--for", "1s", "--every", "0.2", "--database-url", postgres_url)
    done = chatsys(*command)
    assert done.returncode == 0, done.stderr
    assert f"Recorded {tmp_path / 'result.json'}." in done.stdout
    before = (tmp_path / "result.json").read_bytes()
    assert "holds a run already. Replace it? Confirm it with --yes." in chatsys(*command).stderr
    assert (tmp_path / "result.json").read_bytes() == before
    for arguments in ([], ["x", "--for", "0s"], ["x", "--for", "2d"]):
        assert "record needs a folder, and a time from 1s to 1d" in chatsys("monitor", "record", *arguments).stderr
    assert "Only record takes" in chatsys("monitor", "pulse", "--for", "5m").stderr
