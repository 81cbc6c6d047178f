"""``chatsys db``: create, upgrade, look at, back up, restore, clean and reset the database."""

from __future__ import annotations

import json
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chatsys.cli.database import DatabaseUrl, Yes, confirm, opened_database, read_age, shown_size, working
from chatsys.errors import OperatorError

app = typer.Typer(help="Set up, look at, back up and clean the database.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]


class Format(StrEnum):
    """How a result is written: for people, or as one JSON object."""

    table = "table"
    json = "json"


@app.command()
def init(yes: Yes = False, database_url: DatabaseUrl = None) -> None:
    """Make the database, its tables and the default rooms.

    The database is created if it is missing. The original backend's is adopted: its rows stay. Beside tables of others
    nothing is made without asking. Running it again changes nothing.
    """
    from chatsys.store.postgres.address import read_url
    from chatsys.store.postgres.operations.setup import OWN, foreign_relations, initialise

    with opened_database(database_url, create=True) as (url, _):
        name = read_url(url).database
        others = foreign_relations(url)
        if others:
            shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
            confirm(
                f"The database {name} has {len(others)} tables and views of somebody else ({shown}). "
                f"Make the {len(OWN)} of chatsys beside them?",
                yes=yes,
            )
        with working(f"Setting up {name}"):
            done = initialise(url)
    if done.created:
        typer.echo(f"Created the database {name}.")
    _say_version(name, done.before, done.after, done.adopted)
    if done.before is None:
        typer.echo("Next: `chatsys serve` starts the server, `chatsys verify` checks that everything works.")


@app.command()
def migrate(dry_run: DryRun = False, database_url: DatabaseUrl = None) -> None:
    """Bring an existing schema to the version that this program needs."""
    from chatsys.store.postgres import admin
    from chatsys.store.postgres.address import read_url
    from chatsys.store.postgres.operations.setup import migrate as bring_up_to_date

    with opened_database(database_url) as (url, _):
        name = read_url(url).database
        if dry_run:
            pending = admin.pending_versions(admin.current_version(url))
            typer.echo(f"Would bring {name} through {', '.join(pending)}." if pending else f"{name} is up to date.")
            return
        with working(f"Upgrading {name}"):
            done = bring_up_to_date(url)
    _say_version(name, done.before, done.after, done.adopted)


@app.command()
def status(
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.table,
    database_url: DatabaseUrl = None,
) -> None:
    """Show schema version, size, rows and connections."""
    from rich.console import Console
    from rich.table import Table

    from chatsys.store.postgres import admin
    from chatsys.store.postgres.address import read_url

    with opened_database(database_url) as (url, _):
        found = admin.status(url)
        address = read_url(url)
    if form is Format.json:
        import msgspec

        where = {"database": address.database, "host": address.host, "port": address.port}
        typer.echo(json.dumps({**where, **msgspec.to_builtins(found)}))
        return
    table = Table(show_header=False, box=None)
    table.add_row("database", f"{address.database} on {address.where}")
    table.add_row("server", f"PostgreSQL {found.server}")
    table.add_row("schema version", found.version or "none: run `chatsys db init`")
    table.add_row("pending migrations", ", ".join(found.pending) or "none")
    table.add_row("size", shown_size(found.size_bytes))
    table.add_row("connections", f"{found.connections} to this database; the server allows {found.max_connections}")
    for name, count in found.rows.items():
        table.add_row(f"rows in {name}", f"{count:,}")
    Console().print(table)


@app.command()
def reset(yes: Yes = False, dry_run: DryRun = False, database_url: DatabaseUrl = None) -> None:
    """Delete everything and create the schema anew.

    Tables that chatsys does not know go as well. The database's name has to be typed; --yes spares that, except in
    production (CHATSYS_ENV).
    """
    from chatsys.store.postgres.address import read_url
    from chatsys.store.postgres.operations.setup import count_tables
    from chatsys.store.postgres.operations.setup import reset as start_over

    with opened_database(database_url) as (url, settings):
        address = read_url(url)
        where = f"{address.database} on {address.where}"
        if dry_run:
            typer.echo(f"Would delete all {count_tables(url)} tables of {where}, and create the schema anew.")
            return
        if settings.production or not yes:
            typed = typer.prompt(
                f"This deletes everything in the database {where}. Type its name to go on",
                default="",
                show_default=False,
            )
            if typed != address.database:
                raise OperatorError("The name was not typed, so nothing was deleted.", hint="Type it exactly.")
        with working(f"Emptying {address.database}"):
            done = start_over(url)
    typer.echo(f"Emptied the database {address.database}; its schema is at version {done.after}.")


@app.command()
def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to; plain SQL if its name ends in .sql, else compressed.")
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Restore it into a scratch database and compare every table.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing file without asking.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the whole database to one file, with pg_dump.

    The server may go on. An existing file is not replaced without asking.
    """
    from chatsys.store.postgres.operations.backup import backup as write_backup

    with opened_database(database_url) as (url, _):
        if file.exists():
            confirm(f"{file} exists. Replace it?", yes=yes)
        with working(f"Writing {file}" + (" and proving it" if verify else "")):
            done = write_backup(url, file, verify=verify)
    typer.echo(f"Wrote {done.file}: {shown_size(done.size)} in {done.seconds:.1f} s.")
    if done.proof:
        rows = sum(table.rows for table in done.proof)
        typer.echo(f"Verified: {len(done.proof)} tables with {rows:,} rows are the same after a restore, by checksum.")
    else:
        typer.echo(f"Next: `chatsys db restore {done.file}` puts it back; --verify would have proved that it restores.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `chatsys db backup` or pg_dump wrote.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace what is in the database without asking.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Restore under running servers: their clients lose their sessions.")
    ] = False,
    dry_run: DryRun = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Replace the whole database by a backup, or change nothing.

    A missing database is created. While chat servers work on the database it refuses; --force does it all the same.
    """
    from chatsys.errors import DatabaseMissing
    from chatsys.store.postgres import admin
    from chatsys.store.postgres.address import read_url
    from chatsys.store.postgres.operations.restore import check
    from chatsys.store.postgres.operations.restore import restore as read_backup
    from chatsys.store.postgres.operations.servers import alive
    from chatsys.store.postgres.operations.setup import count_tables, create

    check(file)
    with opened_database(database_url, create=not dry_run) as (url, _):
        name = read_url(url).database
        try:
            tables, at_work = count_tables(url), alive(url)
        except DatabaseMissing:
            tables, at_work = 0, None
            if not dry_run:
                create(url)
        if at_work and at_work.servers and not force:
            raise OperatorError(
                f"{at_work} work on {name}, so nothing was changed",
                hint="Stop them first; one that was killed counts until its lease ends (CHATSYS_LEASE, 15 s). --force "
                "restores all the same: their clients lose their sessions and must join again, messages that were "
                "sent since the backup are gone, and the servers should be restarted afterwards.",
            )
        if dry_run:
            typer.echo(f"Would replace the {tables} tables of {name} by {file}, {shown_size(file.stat().st_size)}.")
            return
        if tables:
            hurt = f", and {at_work} work on it" if at_work and at_work.servers else ""
            confirm(f"The database {name} has {tables} tables{hurt}. Replace everything in it?", yes=yes)
        with working(f"Restoring {name}"):
            done = read_backup(url, file)
        pending = admin.pending_versions(admin.current_version(url))
    typer.echo(f"Restored {name} from {file} in {done.seconds:.1f} s.")
    if pending:
        typer.echo("Next: the backup is of an older schema; run `chatsys db migrate`.")
    elif at_work and at_work.servers:
        typer.echo("Next: restart the servers; their clients have to join again.")
    else:
        typer.echo("Next: `chatsys db status` shows what is in it; `chatsys serve` starts the server.")


@app.command()
def cleanup(
    sessions_older_than: Annotated[
        timedelta | None,
        typer.Option(parser=read_age, metavar="AGE", help="Delete sessions of dead servers, inactive for AGE: 1d."),
    ] = None,
    messages_older_than: Annotated[
        timedelta | None, typer.Option(parser=read_age, metavar="AGE", help="Delete messages older than AGE: 30d.")
    ] = None,
    dry_run: DryRun = False,
    form: Annotated[Format, typer.Option("--format", help="How to write the result.")] = Format.table,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete dead sessions and old messages.

    In short transactions, so that the server may go on. Stopped half way, what is deleted is deleted, and the next run
    goes on.
    """
    import msgspec

    from chatsys.store.postgres.operations import cleanup as work

    if sessions_older_than is None and messages_older_than is None:
        raise OperatorError(
            "Nothing was named, so nothing was deleted.",
            hint="Name an age: chatsys db cleanup --sessions-older-than 1d --messages-older-than 30d",
        )
    with opened_database(database_url) as (url, _), working("Looking for what is old") as tell:
        if dry_run:
            done = work.preview(url, sessions_older_than=sessions_older_than, messages_older_than=messages_older_than)
        else:
            done = work.cleanup(
                url,
                sessions_older_than=sessions_older_than,
                messages_older_than=messages_older_than,
                progress=lambda rows: tell(f"{rows:,} rows deleted"),
            )
    if form is Format.json:
        typer.echo(json.dumps({"dry_run": dry_run, **msgspec.to_builtins(done)}))
        return
    deleted = "Would delete" if dry_run else "Deleted"
    typer.echo(f"{deleted} {done.sessions:,} sessions and {done.messages:,} messages, {shown_size(done.size)} of rows.")
    if dry_run:
        typer.echo("Next: the same command without --dry-run deletes them.")
    else:
        typer.echo(f"It took {done.seconds:.1f} s; the longest transaction {done.longest_batch * 1000:.0f} ms.")
        typer.echo("New rows take the freed space; the files on disk do not shrink.")


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
