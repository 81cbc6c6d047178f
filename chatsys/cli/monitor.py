"""``chatsys monitor``: the frames of chatsys.analytics at the terminal."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from chatsys.resources import database_dir
from chatsys.settings import Settings, read_settings

if TYPE_CHECKING:
    import pandas as pd

    from chatsys.analytics import Monitor

_OVERVIEW = ("pulse", "chat_totals")


class Format(StrEnum):
    """How a frame is written: for people, as one JSON object a row, or as CSV."""

    table = "table"
    json = "json"
    csv = "csv"


def _names() -> list[str]:
    return sorted({path.name.partition(".")[0] for path in (database_dir() / "monitoring").glob("*.sql")})


def monitor(
    query: Annotated[
        str | None,
        typer.Argument(
            help=f"One of {', '.join(_names())}. Left out: {' and '.join(_OVERVIEW)}.",
            autocompletion=_names,
            show_default=False,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Ask again until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 2.0,
    form: Annotated[Format, typer.Option("--format", help="How to write the rows.")] = Format.table,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="postgresql://… or embedded://[path]; default DATABASE_URL, else the private PostgreSQL.",
        ),
    ] = None,
) -> None:
    """Show what a database is doing: connections, sizes, locks, slow queries, rooms, read lag and more.

    docs/ANALYTICS.md explains every query and its columns.
    """
    settings = read_settings({"DATABASE_URL": database_url})
    from chatsys.analytics import Monitor

    names = (query,) if query else _OVERVIEW
    with Monitor(_address(settings)) as source:
        looks = _looks(source, names, every if watch else None)
        if form is Format.table and watch and sys.stdout.isatty():
            _live(looks)
            return
        for number, frames in enumerate(looks):
            for frame in frames:
                _write(frame, form, header=number == 0)
            sys.stdout.flush()


def _address(settings: Settings) -> str:
    """The server's own database, with the TLS that DB_SSL asks for."""
    url = settings.database_url or f"embedded://{settings.data_dir / 'postgres'}"
    if not url.startswith(("postgresql://", "postgres://")):
        return url
    from chatsys.store.postgres.address import read_url

    return read_url(url, ssl=settings.db_ssl, ca_file=settings.db_ssl_ca_file).libpq


def _looks(source: Monitor, names: tuple[str, ...], every: float | None) -> Iterator[list[pd.DataFrame]]:
    """The frames of ``names`` once, or again and again."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a MonitorWarning is shown with the rows, from attrs
            yield [source.frame(name) for name in names]
        if every is None:
            return
        time.sleep(every)


def _live(looks: Iterator[list[pd.DataFrame]]) -> None:
    from chatsys.analytics.formatting import Shown

    with Live(console=Console(), auto_refresh=False) as screen:
        for frames in looks:
            parts: list[Any] = []
            for frame in frames:
                parts += [Shown(frame, frame.attrs["query"]), *_notes(frame)]
            screen.update(Group(*parts), refresh=True)


def _write(frame: pd.DataFrame, form: Format, *, header: bool) -> None:
    if form is Format.table:
        from chatsys.analytics.formatting import Shown

        Console().print(Shown(frame, frame.attrs["query"]))
    elif form is Format.csv:
        frame.to_csv(sys.stdout, index=False, header=header, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
    else:
        rows = json.loads(frame.to_json(orient="records", date_format="iso", date_unit="us"))
        for row in rows:
            looked = {"query": frame.attrs["query"], "taken_at": frame.attrs["taken_at"]}
            typer.echo(json.dumps({**looked, **row}, ensure_ascii=False))
    for note in _notes(frame):
        Console(stderr=True).print(note, soft_wrap=True)


def _notes(frame: pd.DataFrame) -> list[Text]:
    return [Text(f"{frame.attrs['query']}: {note}", style="yellow") for note in frame.attrs["warnings"]]
