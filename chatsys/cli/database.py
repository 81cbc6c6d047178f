"""Which database a command works on, and how sizes and names are shown."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import typer

from chatsys.errors import OperatorError
from chatsys.extras import require
from chatsys.settings import Settings, read_settings

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="postgresql://… or embedded://[path]; default DATABASE_URL, else the private PostgreSQL.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@contextmanager
def opened_database(url: str | None, *, create: bool = False) -> Iterator[tuple[str, Settings]]:
    """The URL that libpq takes, TLS settings included, and the settings. A private PostgreSQL runs for the block.

    With ``create`` a private one that is missing is made; else EmbeddedFailed is raised.
    """
    settings = read_settings({"DATABASE_URL": url}, serving=False)
    chosen = settings.database_url or "embedded://"
    if chosen.startswith("memory://"):
        raise OperatorError(
            "The memory store has no database.", hint="Name a server with --database-url or DATABASE_URL."
        )
    from chatsys.store.postgres.address import read_url

    if chosen.startswith("embedded://"):
        from pathlib import Path

        require("embedded")
        from chatsys.store.embedded import embedded_server, require_cluster

        folder = chosen.removeprefix("embedded://")
        path = Path(folder) if folder else settings.data_dir / "postgres"
        if not create:
            require_cluster(path)
        with embedded_server(path) as server:
            yield server, settings
    else:
        yield read_url(chosen, ssl=settings.db_ssl, ca_file=settings.db_ssl_ca_file).libpq, settings


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless ``yes``. Raises typer.Abort for a no, and OperatorError if nobody is there to answer."""
    if yes:
        return
    try:
        typer.confirm(question, abort=True, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        raise OperatorError(
            f"This has to be confirmed, and nothing was changed: {question}", hint="Confirm it with --yes."
        ) from None


@contextmanager
def working(title: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done and since when, until the block ends; gives what changes the words."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task(title)
        yield lambda words: shown.update(task, description=words)


def shown_size(size: float) -> str:
    """Bytes as a person reads them, in powers of 1024."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def read_age(text: str) -> timedelta:
    """``30d`` or ``12h`` as a length of time: a whole number and s, m, h, d or w."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    found = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not an age: write a whole number and s, m, h, d or w, such as 30d.")
    return timedelta(**{units[found[2]]: int(found[1])})
