"""``chatsys db``: create, upgrade, look at, back up, restore, clean and reset the database."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from chatsys.cli.database import DatabaseUrl, opened_database, read_age, shown_size
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


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; plain SQL if its name ends in .sql, else compressed.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Restore it into a scratch database and compare every table.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the whole database to one file, with pg_dump. The server may go on."""
    from chatsys.store.postgres.operations.backup import backup as write_backup

    with opened_database(database_url) as (url, _):
        done = write_backup(url, file, verify=verify)
    typer.echo(f"Wrote {done.file}: {shown_size(done.size)} in {done.seconds:.1f} s.")
    if done.proof:
        rows = sum(table.rows for table in done.proof)
        typer.echo(f"Verified: {len(done.proof)} tables with {rows:,} rows are the same after a restore, by checksum.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `chatsys db backup` or pg_dump wrote.")],
    yes: Annotated[bool, typer.Option("--yes", help="Replace what is in the database without asking.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Replace everything in the database by a backup, or change nothing. A missing database is created."""
    from chatsys.errors import DatabaseMissing
    from chatsys.store.postgres import admin
    from chatsys.store.postgres.address import read_url
    from chatsys.store.postgres.operations.restore import restore as read_backup
    from chatsys.store.postgres.operations.setup import count_tables, create

    with opened_database(database_url) as (url, _):
        name = read_url(url).database
        try:
            tables = count_tables(url)
        except DatabaseMissing:
            create(url)
            tables = 0
        if tables and not yes:
            typer.confirm(f"The database {name} has {tables} tables. Replace everything in it?", abort=True)
        done = read_backup(url, file)
        pending = admin.pending_versions(admin.current_version(url))
    typer.echo(f"Restored {name} from {file} in {done.seconds:.1f} s.")
    if pending:
        typer.echo("The backup is of an older schema: run `chatsys db migrate`.")


@app.command()
def cleanup(
    sessions_older_than: Annotated[
        timedelta | None, typer.Option(parser=read_age, metavar="AGE", help="Dead sessions quiet for so long: 1d.")
    ] = None,
    messages_older_than: Annotated[
        timedelta | None, typer.Option(parser=read_age, metavar="AGE", help="Messages older than this: 30d.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete dead sessions and old messages in short transactions. The server may go on."""
    from rich.console import Console

    from chatsys.store.postgres.operations import cleanup as work

    if sessions_older_than is None and messages_older_than is None:
        raise OperatorError(
            "Nothing was named, so nothing was deleted.",
            hint="Name an age: chatsys db cleanup --sessions-older-than 1d --messages-older-than 30d",
        )
    console = Console(stderr=True)
    with opened_database(database_url) as (url, _), console.status("Looking") as shown:
        if dry_run:
            done = work.preview(url, sessions_older_than=sessions_older_than, messages_older_than=messages_older_than)
        else:
            done = work.cleanup(
                url,
                sessions_older_than=sessions_older_than,
                messages_older_than=messages_older_than,
                progress=lambda rows: shown.update(f"{rows:,} rows deleted"),
            )
    deleted = "Would delete" if dry_run else "Deleted"
    typer.echo(f"{deleted} {done.sessions:,} sessions and {done.messages:,} messages, {shown_size(done.size)} of rows.")
    if not dry_run:
        typer.echo(f"It took {done.seconds:.1f} s; the longest transaction {done.longest_batch * 1000:.0f} ms.")


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
