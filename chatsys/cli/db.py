"""``chatsys db``: create, upgrade, look at, back up, restore, clean and reset the database."""

from __future__ import annotations

from typing import Annotated

import typer

from chatsys.cli.database import DatabaseUrl, opened_database, shown_size
from chatsys.errors import OperatorError

app = typer.Typer(help="Set up, look at, back up and clean the database.", no_args_is_help=True)


@app.command()
def init(database_url: DatabaseUrl = None) -> None:
    """Create the database if it is missing, its tables and the default rooms; adopt the original backend's database.

    Running it again changes nothing.
    """
    from chatsys.store.postgres.address import read_url
    from chatsys.store.postgres.operations.setup import initialise

    with opened_database(database_url) as (url, _):
        done = initialise(url)
        name = read_url(url).database
    if done.created:
        typer.echo(f"Created the database {name}.")
    _say_version(name, done.before, done.after, done.adopted)


@app.command()
def migrate(database_url: DatabaseUrl = None) -> None:
    """Bring an existing schema to the version that this program needs."""
    from chatsys.store.postgres.address import read_url
    from chatsys.store.postgres.operations.setup import migrate as bring_up_to_date

    with opened_database(database_url) as (url, _):
        done = bring_up_to_date(url)
        name = read_url(url).database
    _say_version(name, done.before, done.after, done.adopted)


@app.command()
def status(database_url: DatabaseUrl = None) -> None:
    """Show the schema's version, pending migrations, size, rows and connections."""
    from rich.console import Console
    from rich.table import Table

    from chatsys.store.postgres import admin
    from chatsys.store.postgres.address import read_url

    with opened_database(database_url) as (url, _):
        found = admin.status(url)
        address = read_url(url)
    table = Table(show_header=False, box=None)
    table.add_row("database", f"{address.database} on {address.host}")
    table.add_row("server", f"PostgreSQL {found.server}")
    table.add_row("schema version", found.version or "none: run `chatsys db init`")
    table.add_row("pending migrations", ", ".join(found.pending) or "none")
    table.add_row("size", shown_size(found.size_bytes))
    table.add_row("connections", f"{found.connections} to this database; the server allows {found.max_connections}")
    for name, count in found.rows.items():
        table.add_row(f"rows in {name}", f"{count:,}")
    Console().print(table)


@app.command()
def reset(
    database_url: DatabaseUrl = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. In production the name is asked for anyway.")] = False,
) -> None:
    """Delete everything in the database, tables that chatsys does not know included, and create the schema anew."""
    from chatsys.store.postgres.address import read_url
    from chatsys.store.postgres.operations.setup import reset as start_over

    with opened_database(database_url) as (url, settings):
        address = read_url(url)
        if settings.production or not yes:
            typed = typer.prompt(
                f"This deletes everything in the database {address.database} on {address.host}. Type its name to go on",
                default="",
                show_default=False,
            )
            if typed != address.database:
                raise OperatorError("The name was not typed, so nothing was deleted.", hint="Type it exactly.")
        done = start_over(url)
    typer.echo(f"Emptied the database {address.database}; its schema is at version {done.after}.")


def _say_version(name: str, before: str | None, after: str, adopted: dict[str, int]) -> None:
    if adopted:
        counts = ", ".join(f"{count:,} {table}" for table, count in adopted.items())
        typer.echo(f"Adopted the original backend's database {name}: {counts}.")
    if before == after:
        typer.echo(f"The schema of {name} is at version {after}; nothing to do.")
    elif before is None:
        typer.echo(f"The schema of {name} is now at version {after}.")
    else:
        typer.echo(f"The schema of {name} went from version {before} to {after}.")
