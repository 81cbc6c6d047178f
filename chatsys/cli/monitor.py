"""``chatsys monitor``: the frames of chatsys.analytics at the terminal."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from chatsys.analytics import Monitor, MonitorWarning
from chatsys.analytics.catalogue import QUERIES
from chatsys.analytics.formatting import table
from chatsys.settings import read_settings


class Format(StrEnum):
    """How a frame is written: for people, as one JSON object a row, or as CSV."""

    table = "table"
    json = "json"
    csv = "csv"


_OVERVIEW = ("pulse", "chat_totals")
_QUERY_HELP = f"One of: {', '.join(QUERIES)}. Left out, pulse and chat_totals."


def monitor(
    query: Annotated[str | None, typer.Argument(help=_QUERY_HELP)] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Ask again every so many seconds until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 2.0,
    form: Annotated[Format, typer.Option("--format", help="How to write the rows.")] = Format.table,
    database_url: Annotated[str | None, typer.Option(help="The database; DATABASE_URL when left out.")] = None,
) -> None:
    """Show what a database is doing: connections, sizes, locks, slow queries, rooms, read lag and more."""
    url = read_settings({"DATABASE_URL": database_url}).database_url or "embedded://"
    names = (query,) if query else _OVERVIEW
    with Monitor(url) as source:
        looks = _looks(source, names, every if watch else None)
        try:
            if form is Format.table and watch and sys.stdout.isatty():
                _live(looks)
            else:
                for number, frames in enumerate(looks):
                    for frame in frames:
                        _write(frame, form, header=number == 0)
                    sys.stdout.flush()
        except KeyboardInterrupt:
            return


def _looks(source: Monitor, names: tuple[str, ...], every: float | None) -> Iterator[list[pd.DataFrame]]:
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MonitorWarning)  # shown with the rows, from attrs
            yield [source.frame(name) for name in names]
        if every is None:
            return
        time.sleep(every)


def _live(looks: Iterator[list[pd.DataFrame]]) -> None:
    with Live(console=Console(), auto_refresh=False) as screen:
        for frames in looks:
            parts: list[Any] = [
                part for frame in frames for part in (table(frame, frame.attrs["query"]), *_notes(frame))
            ]
            screen.update(Group(*parts), refresh=True)


def _write(frame: pd.DataFrame, form: Format, *, header: bool) -> None:
    if form is Format.table:
        Console().print(table(frame, frame.attrs["query"]))
    elif form is Format.csv:
        frame.to_csv(sys.stdout, index=False, header=header, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
    else:
        lines = frame.to_json(orient="records", date_format="iso", date_unit="us", force_ascii=False)
        for record in json.loads(lines):
            typer.echo(json.dumps({"query": frame.attrs["query"], "taken_at": frame.attrs["taken_at"], **record}))
    for note in _notes(frame):
        Console(stderr=True).print(note)


def _notes(frame: pd.DataFrame) -> list[Text]:
    return [Text(f"{frame.attrs['query']}: {note}", style="yellow") for note in frame.attrs["warnings"]]
