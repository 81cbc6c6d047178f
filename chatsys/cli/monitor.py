"""``chatsys monitor``: the frames of chatsys.analytics in a terminal."""

from __future__ import annotations

import io
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from chatsys.cli.database import DatabaseUrl, confirm, read_age, settings_for
from chatsys.cli.working import working
from chatsys.errors import OperatorError
from chatsys.resources import database_dir
from chatsys.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from chatsys.analytics import Monitor

_OVERVIEW = ("pulse", "chat_totals")
_UNLIMITED = 100_000  # a width in columns that cuts nothing
RowFormat = Literal["table", "json", "csv", "parquet"]
"""How a frame is written: for people, as one JSON object a row, as CSV, or as a Parquet file."""


def _names() -> list[str]:
    return sorted({path.name.partition(".")[0] for path in (database_dir() / "monitoring").glob("*.sql")})


def monitor(  # noqa: PLR0917 - each is an option, given by name
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help=f"One of {', '.join(_names())}; default {' and '.join(_OVERVIEW)}. Or `record DIR`: watch for a "
            "while, and write a recording into that folder.",
            autocompletion=_names,
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The folder that `record` writes.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C; counters become rates.")] = False,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Seconds between two samples of --watch or `record`.")
    ] = 2.0,
    minutes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many minutes the query looks back.")
    ] = None,
    days: Annotated[int | None, typer.Option(metavar="N", min=1, help="How many days the query looks back.")] = None,
    messages: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many of the newest messages a lag is computed from.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Show the first N rows instead of a summary of many rows.")
    ] = None,
    duration: Annotated[
        timedelta | None,
        typer.Option("--for", parser=read_age, metavar="AGE", help="How long `record` watches: 30s, 5m (default), 1h."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Let `record` replace an older recording.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Show every column, whatever the terminal's width.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what the query helps to decide, its columns and its SQL.")
    ] = False,
    form: Annotated[RowFormat, typer.Option("--format", help="How to write the rows.")] = "table",
    database_url: DatabaseUrl = None,
) -> None:
    """Show what a database is doing.

    Connections, sizes, locks, slow queries, rooms, read lag and more. A terminal shows the most important columns that
    fit, and a summary instead of more than 40 rows. docs/ANALYTICS.md explains every query and its columns.
    """
    if query == "record":
        _record(
            folder, timedelta(minutes=5) if duration is None else duration, every, yes=yes, database_url=database_url
        )
        return
    if folder is not None or duration is not None:
        raise OperatorError(
            "Only record takes a folder and --for.", hint="Example: chatsys monitor record reports/today --for 5m"
        )
    given = {"minutes": minutes, "days": days, "messages": messages, "limit": limit}
    from chatsys.analytics.monitor import known

    if query is not None:
        known(query)
    if explain:
        _explain(query)
        return
    if form == "parquet":
        _check_parquet(query, watch=watch)
    settings = settings_for(database_url)
    parameters = _parameters(query, given)
    screen = _Screen(form, wide=wide, limit=limit, watching=watch)
    from chatsys.analytics import Monitor

    with Monitor(address_of(settings)) as source:
        samples = _samples(source, (query,) if query else _OVERVIEW, parameters, every if watch else None)
        if form == "table" and watch and sys.stdout.isatty():
            screen.live(samples)
            return
        for number, frames in enumerate(samples):
            for frame in frames:
                screen.write(frame, header=number == 0)
            sys.stdout.flush()


def _record(folder: Path | None, duration: timedelta, every: float, *, yes: bool, database_url: str | None) -> None:
    """Record the activity of a database. Ctrl-C ends the recording early, and keeps it."""
    if folder is None or not timedelta(seconds=1) <= duration <= timedelta(days=1):
        raise OperatorError(
            "record needs a folder, and a time from 1s to 1d.",
            hint="Example: chatsys monitor record reports/today --for 5m",
        )
    if folder.exists() and not folder.is_dir():
        raise OperatorError(f"{folder} is a file.", hint="Name a folder; it is created if it is missing.")
    if (folder / "result.json").exists():
        confirm(f"{folder} holds a run already. Replace it?", yes=yes)
    settings = settings_for(database_url)
    from chatsys.analytics import Monitor
    from chatsys.analytics.recording import record

    with (
        Monitor(address_of(settings)) as source,
        working(f"Watching for {duration.total_seconds():,.0f} s; Ctrl-C ends it and keeps the recording"),
    ):
        path = record(source, folder, duration.total_seconds(), every=every)
    typer.echo(f"Recorded {path}.")
    typer.echo(
        f"Next: runs.load_run({str(folder)!r}) in Python reads it; runs.beside_locust joins it with Locust's CSV."
    )


def address_of(settings: Settings) -> str:
    """The URL of the database in the settings, with the TLS of DB_SSL."""
    url = settings.database_url or "embedded://"
    if url == "embedded://":
        url = f"embedded://{settings.data_dir / 'postgres'}"
    if not url.startswith(("postgresql://", "postgres://")):
        return url
    from chatsys.store.address import read_url

    return read_url(url, ssl=settings.db_ssl, ca_file=settings.db_ssl_ca_file).libpq


def _parameters(query: str | None, given: dict[str, int | None]) -> dict[str, int]:
    """The options that the query takes. Raises OperatorError for one that it does not take."""
    from chatsys.analytics.monitor import checked
    from chatsys.analytics.sql import defaults

    wanted = {name: value for name, value in given.items() if value is not None}
    takes = defaults(query) if query else {}
    if "limit" not in takes:
        wanted.pop("limit", None)  # it limits only the rows shown
    if query is None and wanted:
        raise OperatorError(f"--{next(iter(wanted))} needs a query.", hint="Example: chatsys monitor growth --days 7")
    return checked(query, wanted) if query else {}


def _check_parquet(query: str | None, *, watch: bool) -> None:
    if query is None or watch or sys.stdout.isatty():
        raise OperatorError(
            "Parquet is one file of one query.",
            hint="Example: chatsys monitor sessions --format parquet > sessions.parquet",
        )


def _samples(
    source: Monitor, names: tuple[str, ...], parameters: dict[str, int], every: float | None
) -> Iterator[list[pd.DataFrame]]:
    """The frames of the queries ``names``: once, or with ``every`` repeatedly."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a MonitorWarning is shown with the rows, from attrs
            yield [source.frame(name, **parameters) for name in names]
        if every is None:
            return
        time.sleep(every)


class _Screen:
    """Writes frames in the chosen format. While watching, it keeps the last one of each query, for rates."""

    def __init__(self, form: RowFormat, *, wide: bool, limit: int | None, watching: bool) -> None:
        self._form = form
        self._wide = wide
        self._limit = limit
        self._watching = watching
        self._last: dict[str, pd.DataFrame] = {}

    def live(self, samples: Iterator[list[pd.DataFrame]]) -> None:
        """Replace each sample on the screen with the next one."""
        with Live(console=self._console(), auto_refresh=False) as screen:
            for frames in samples:
                if not sys.stdout.isatty():
                    return  # the terminal is gone, as when an ssh connection breaks
                parts: list[Any] = []
                for frame in frames:
                    parts += [self._shown(self._rated(frame)), *_notes(frame)]
                screen.update(Group(*parts), refresh=True)

    def write(self, frame: pd.DataFrame, *, header: bool) -> None:
        """Write one frame to standard output, its notes to standard error."""
        frame = self._rated(frame)
        if self._form == "table":
            self._console().print(self._shown(frame))
        else:
            rows = frame if self._limit is None else frame.head(self._limit)
            self._written(rows, header=header)
        for note in _notes(frame):
            Console(stderr=True).print(note, soft_wrap=True)

    def _written(self, rows: pd.DataFrame, *, header: bool) -> None:
        if self._form == "csv":
            rows.to_csv(sys.stdout, index=False, header=header, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
        elif self._form == "parquet":
            file = io.BytesIO()
            rows.to_parquet(file, index=False)
            sys.stdout.buffer.write(file.getvalue())
        else:
            source = {"query": rows.attrs["query"], "taken_at": rows.attrs["taken_at"]}
            for row in json.loads(rows.to_json(orient="records", date_format="iso", date_unit="us")):
                typer.echo(json.dumps({**source, **row}, ensure_ascii=False))

    def _rated(self, frame: pd.DataFrame) -> pd.DataFrame:
        """While watching, a table shows rates instead of counters; other formats have both."""
        if not self._watching:
            return frame
        from chatsys.analytics.rates import rates

        before = self._last.get(frame.attrs["query"])
        self._last[frame.attrs["query"]] = frame
        return rates(before, frame, keep_totals=self._form != "table")

    def _shown(self, frame: pd.DataFrame) -> Any:
        from chatsys.analytics.screen import Shown

        return Shown(frame, wide=self._uncut(), limit=self._limit)

    def _uncut(self) -> bool:
        """Whether to show every column: with --wide, and in a file or pipe unless COLUMNS gives a width."""
        return self._wide or not (sys.stdout.isatty() or "COLUMNS" in os.environ)

    def _console(self) -> Console:
        return Console(width=_UNLIMITED) if self._uncut() else Console()


def _explain(query: str | None) -> None:
    from chatsys.analytics.reference import explanation

    if query is None:
        raise OperatorError("--explain needs a query.", hint="Example: chatsys monitor growth --explain")
    Console().print(explanation(query), crop=False)


def _notes(frame: pd.DataFrame) -> list[Text]:
    return [Text(f"{frame.attrs['query']}: {note}", style="yellow") for note in frame.attrs["warnings"]]
