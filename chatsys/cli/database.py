"""Which database a command works on, and how sizes and names are shown."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from chatsys.cli.working import Interrupted
from chatsys.errors import OperatorError, SettingsError
from chatsys.extras import require
from chatsys.settings import Settings, read_settings

_WHICH = "postgresql://… or embedded://[path]; default DATABASE_URL, else the private PostgreSQL."
DatabaseUrl = Annotated[str | None, typer.Option("--database-url", metavar="URL", help=_WHICH)]
DatabaseArgument = Annotated[str | None, typer.Argument(metavar="URL", help=_WHICH, show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def settings_for(url: str | None) -> Settings:
    """The settings; the database ``url`` of the command line replaces that of DATABASE_URL."""
    try:
        return read_settings({"DATABASE_URL": url}, serving=False)
    except SettingsError as error:
        if url is None or error.name != "DATABASE_URL":
            raise
        raise OperatorError(f"The database's address must be {error.allowed}.") from None


@contextmanager
def opened_database(url: str | None, *, create: bool = False) -> Iterator[tuple[str, Settings]]:
    """The URL that libpq takes, including TLS settings, and the settings. A private PostgreSQL runs during the block.

    If the private PostgreSQL is missing, ``create`` creates it; otherwise EmbeddedFailed is raised.
    """
    settings = settings_for(url)
    chosen = settings.database_url or ""
    if chosen.startswith("memory://"):
        raise OperatorError(
            "The memory store has no database.", hint="Name a server with --database-url or DATABASE_URL."
        )
    from chatsys.store.address import read_url

    folder = private_folder(settings)
    if folder is None:
        yield read_url(chosen, ssl=settings.db_ssl, ca_file=settings.db_ssl_ca_file).libpq, settings
        return
    require("embedded")
    from chatsys.database.embedded import embedded_server, require_cluster

    if not create:
        require_cluster(folder)
    with embedded_server(folder) as server:
        yield server, settings


def missing_private(url: str | None) -> Path | None:
    """The folder of the private PostgreSQL if ``url`` and the settings name one that does not exist yet, else None."""
    folder = private_folder(settings_for(url))
    return None if folder is None or (folder / "data").exists() else folder


def private_folder(settings: Settings) -> Path | None:
    """The folder of the private PostgreSQL, or None if the settings name another server."""
    chosen = settings.database_url or "embedded://"
    if not chosen.startswith("embedded://"):
        return None
    folder = chosen.removeprefix("embedded://")
    return Path(folder) if folder else settings.data_dir / "postgres"


def estimated_rows(url: str, *tables: str) -> float:
    """The estimated total number of rows in these tables of the database."""
    from chatsys.database.connecting import connected
    from chatsys.database.progress import estimated

    with connected(url) as connection:
        return estimated(connection, *tables)


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless ``yes``. Raises typer.Abort for a no, and OperatorError if nobody is there to answer."""
    if yes:
        return
    try:
        typer.confirm(question, abort=True, err=True)
    except typer.Abort as no:
        raise _unconfirmed(no, question, "Confirm it with --yes.") from None


def confirm_name(question: str, name: str, hint: str) -> None:
    """Ask for ``name`` to be typed. Raises as :func:`confirm` does."""
    try:
        typed = typer.prompt(f"{question} Type its name to continue", default="", show_default=False, err=True)
    except typer.Abort as no:
        raise _unconfirmed(no, question, hint) from None
    if typed != name:
        raise OperatorError(f"{typed!r} is not {name!r}, so nothing was changed.", hint="Type the name exactly.")


def _unconfirmed(no: BaseException, question: str, hint: str) -> Exception:
    """The exception for a question that was not answered with yes."""
    if isinstance(no.__context__, KeyboardInterrupt):
        return Interrupted("Nothing was changed.")
    if sys.stdin.isatty():
        return typer.Abort()
    typer.echo(err=True)  # end the question's line
    return OperatorError(f"This needs a confirmation, so nothing was changed: {question}", hint=hint)


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
