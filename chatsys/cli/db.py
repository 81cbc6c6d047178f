"""``chatsys db``: create, upgrade, inspect, back up, restore, clean and reset the database."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatsys.cli.database import (
    DatabaseUrl,
    Yes,
    confirm,
    confirm_name,
    missing_private,
    opened_database,
    read_age,
    shown_size,
)
from chatsys.cli.working import Format, interruptible, working
from chatsys.errors import OperatorError

if TYPE_CHECKING:
    from chatsys.database.servers import Alive
    from chatsys.database.setup import Plan, Prepared

app = typer.Typer(help="Set up, inspect, back up and clean the database.", no_args_is_help=True)

_STOP_SERVERS = "Stop them first. A server that was killed counts until its lease ends (CHATSYS_LEASE, 15 s)."

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]


@app.command()
def init(yes: Yes = False, dry_run: DryRun = False, database_url: DatabaseUrl = None) -> None:
    """Create the database, its tables and the default rooms.

    Creates the database if it is missing. Adopts a database of the original backend, and keeps its rows. Asks before it
    creates tables next to those of another program. Running it again changes nothing.
    """
    from chatsys.database.setup import OWN, foreign_relations, initialise, plan
    from chatsys.store.address import read_url

    folder = missing_private(database_url)
    if dry_run and folder is not None:
        typer.echo(f"Would create a private PostgreSQL in {folder}, and in it the database chatsys.")
        _say_created()
        return
    with opened_database(database_url, create=True) as (url, _):
        name = read_url(url).database
        if dry_run:
            _say_plan(name, plan(url))
            return
        others = foreign_relations(url)
        if others:
            shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
            confirm(
                f"The database {name} has {len(others)} tables and views of another program ({shown}). "
                f"Create the {len(OWN)} of chatsys next to them?",
                yes=yes,
            )
        with interruptible("Run it again: it creates what is missing."), working(f"Setting up {name}"):
            done = initialise(url)
    if done.created:
        typer.echo(f"Created the database {name}.")
    _say_version(name, done)
    if done.before is None:
        typer.echo("Next: `chatsys serve` starts the server, `chatsys verify` checks that everything works.")


def _say_plan(name: str, found: Plan) -> None:
    if found.creates:
        typer.echo(f"Would create the database {name}.")
    if found.adopts:
        typer.echo(f"Would adopt the original backend's database {name}: {_counted(found.adopts)}.")
    if found.before is None:
        _say_created()
    elif found.pending:
        typer.echo(f"Would upgrade the schema of {name} from version {found.before} to {', '.join(found.pending)}.")
    else:
        typer.echo(f"The schema of {name} is at version {found.before}; nothing to do.")


def _say_created() -> None:
    from chatsys.database.setup import OWN
    from chatsys.model.rules import DEFAULT_ROOMS
    from chatsys.store.schema import expected_version

    views = sorted(name for name in OWN if name.endswith("_view"))
    typer.echo(
        f"Would create the schema of version {expected_version()}: the tables {', '.join(sorted(OWN - set(views)))}; "
        f"the views {', '.join(views)}; and the rooms {', '.join(name for name, _ in DEFAULT_ROOMS)}."
    )
    typer.echo("Next: the same command without --dry-run creates it.")


@app.command()
def migrate(dry_run: DryRun = False, database_url: DatabaseUrl = None) -> None:
    """Upgrade an existing schema to the version that this program needs."""
    from chatsys.database.setup import migrate as bring_up_to_date
    from chatsys.database.setup import plan, require_schema
    from chatsys.store.address import read_url

    with opened_database(database_url) as (url, _):
        name = read_url(url).database
        if dry_run:
            require_schema(url)
            _say_plan(name, plan(url))
            return
        with interruptible("Each version is one transaction: run it again."), working(f"Upgrading {name}"):
            done = bring_up_to_date(url)
    _say_version(name, done)
    if done.before != done.after:
        typer.echo("Next: `chatsys serve` starts a server of this version.")


@app.command()
def status(
    form: Annotated[Format, typer.Option("--format", help="How to write the status.")] = "table",
    database_url: DatabaseUrl = None,
) -> None:
    """Show schema version, size, rows and connections."""
    from rich.console import Console
    from rich.table import Table

    from chatsys.database import admin
    from chatsys.store.address import read_url

    with opened_database(database_url) as (url, _):
        found = admin.status(url)
        address = read_url(url)
    if form == "json":
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
    """Delete everything, and create the schema again.

    This also deletes tables that chatsys does not know. Asks you to type the database's name, unless --yes is given; in
    production (CHATSYS_ENV) it asks in any case.
    """
    from chatsys.database.servers import alive
    from chatsys.database.setup import count_tables
    from chatsys.database.setup import reset as start_over
    from chatsys.store.address import read_url

    with opened_database(database_url) as (url, settings):
        address = read_url(url)
        what = f"all {count_tables(url)} tables of the database {address.database} on {address.where}"
        if dry_run:
            typer.echo(f"Would delete {what}, and create the schema again.")
            return
        at_work = alive(url)
        if at_work.servers:
            raise OperatorError(f"{at_work} work on {address.database}, so nothing was deleted", hint=_STOP_SERVERS)
        if settings.production:
            confirm_name(f"This deletes {what}.", address.database, "In production, a person must type the name.")
        elif not yes:
            confirm_name(f"This deletes {what}.", address.database, "Confirm it with --yes.")
        with interruptible("Nothing was changed, or everything is deleted."), working(f"Emptying {address.database}"):
            done = start_over(url)
    typer.echo(f"Emptied the database {address.database}; its schema is at version {done.after}.")
    typer.echo("Next: `chatsys serve` starts the server; all users must register again.")


@app.command()
def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write: plain SQL if it ends in .sql, else compressed.")
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Restore it into a scratch database and compare every table.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing file without asking.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the whole database to one file, with pg_dump.

    The server may keep running. Asks before it replaces an existing file.
    """
    from chatsys.database.backup import backup as write_backup

    with opened_database(database_url) as (url, _):
        if file.exists():
            confirm(f"{file} exists. Replace it?", yes=yes)
        with interruptible("No file was written."), working(f"Writing {file}") as report:
            done = write_backup(url, file, verify=verify, report=report)
    typer.echo(f"Wrote {done.file}: {shown_size(done.size)} in {done.seconds:.1f} s.")
    if done.proof:
        rows = sum(table.rows for table in done.proof)
        typer.echo(f"Verified: {len(done.proof)} tables with {rows:,} rows are the same after a restore, by checksum.")
    else:
        typer.echo(f"Next: `chatsys db restore {done.file}` restores it; --verify also checks that it does.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `chatsys db backup` or pg_dump wrote.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace the database's data without asking.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Restore even if servers are running: their clients lose their sessions.")
    ] = False,
    dry_run: DryRun = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Replace the whole database with a backup, or change nothing.

    Creates the database if it is missing. Refuses while chat servers work on the database, unless --force is given.
    """
    from chatsys.database import admin
    from chatsys.database.restore import check
    from chatsys.database.restore import restore as read_backup
    from chatsys.database.setup import create
    from chatsys.store.address import read_url

    check(file)
    shown = f"{file}, {shown_size(file.stat().st_size)}"
    folder = missing_private(database_url)
    if dry_run and folder is not None:
        typer.echo(f"Would create a private PostgreSQL in {folder}, and fill its database from {shown}.")
        return
    with opened_database(database_url, create=True) as (url, _):
        name = read_url(url).database
        tables, at_work = _state(url)
        if at_work is not None and at_work.servers and not force:
            raise OperatorError(
                f"{at_work} work on {name}, so nothing was changed",
                hint=f"{_STOP_SERVERS} --force restores anyway: their clients lose their sessions and must join again, "
                "messages sent since the backup are lost, and you should restart the servers afterwards.",
            )
        if dry_run:
            would = f"replace the {tables} tables of {name} with"
            if at_work is None:
                would = f"create the database {name} and fill it from"
            typer.echo(f"Would {would} {shown}.")
            return
        if at_work is None:
            create(url)
        if tables:
            users = f", and {at_work} work on it" if at_work and at_work.servers else ""
            confirm(f"The database {name} has {tables} tables{users}. Replace everything in it?", yes=yes)
        with interruptible("Nothing was changed."), working(f"Restoring {name}") as report:
            done = read_backup(url, file, report=report)
        version = admin.current_version(url)
    typer.echo(f"Restored {name} from {file} in {done.seconds:.1f} s.")
    if version is None:
        typer.echo("Next: these are tables of the original backend; `chatsys db init` adopts them.")
    elif admin.pending_versions(version):
        typer.echo("Next: the backup has an older schema; run `chatsys db migrate`.")
    elif at_work and at_work.servers:
        typer.echo("Next: restart the servers; their clients must join again.")
    else:
        typer.echo("Next: `chatsys db status` shows what is in it; `chatsys serve` starts the server.")


def _state(url: str) -> tuple[int, Alive | None]:
    """The number of tables in a database, and the servers that work on it; None if the database does not exist."""
    from chatsys.database.servers import alive
    from chatsys.database.setup import count_tables
    from chatsys.errors import DatabaseMissing

    try:
        return count_tables(url), alive(url)
    except DatabaseMissing:
        return 0, None


@app.command()
def rollback(
    target: Annotated[
        str,
        typer.Option(
            "--to", metavar="URL", help="The original backend's database, restored from the cut-over's backup."
        ),
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Go back to the original backend, with the data that was written since the cut-over.

    Copies accounts, rooms, messages and receipts that are newer than the cut-over into the original's database. Refuses
    while chat servers work on this database. Leaves out messages of guests: the original has no guests.
    """
    from chatsys.database.rollback import roll_back
    from chatsys.database.servers import alive
    from chatsys.store.address import read_url

    with opened_database(database_url) as (url, _), opened_database(target) as (to, _):
        here, there = read_url(url).database, read_url(to).database
        at_work = alive(url)
        if at_work.servers and not dry_run:
            raise OperatorError(
                f"{at_work} work on {here}: what they write during the copy would be missing, so nothing was changed",
                hint=_STOP_SERVERS,
            )
        if not dry_run:
            confirm(f"Write what is new in {here} into {there}?", yes=yes)
        with interruptible("Nothing was changed."), working(f"Going back to {there}") as report:
            done = roll_back(url, to, lambda table: report(table, 0, 0), dry_run=dry_run)
    would = "Would bring" if dry_run else "Brought"
    typer.echo(
        f"{would} back {_counted(done.rows)}; {done.changed_accounts:,} accounts changed and {done.deleted_accounts:,} "
        f"deleted, in {done.seconds:.1f} s."
    )
    if done.guests:
        typer.echo(f"{done.guests:,} messages of guests stay in {here}: the original has no guests.")
    if not dry_run:
        typer.echo(f"Next: start the original backend on {there}.")


def _age(about: str) -> Any:
    return typer.Option(parser=read_age, metavar="AGE", help=about, show_default="none")


@app.command()
def cleanup(
    sessions_older_than: Annotated[
        timedelta | None, _age("Delete sessions of dead servers, inactive for longer than AGE, such as 1d.")
    ] = None,
    messages_older_than: Annotated[timedelta | None, _age("Delete messages older than AGE, such as 30d.")] = None,
    dry_run: DryRun = False,
    form: Annotated[Format, typer.Option("--format", help="How to write the result.")] = "table",
    database_url: DatabaseUrl = None,
) -> None:
    """Delete dead sessions and old messages.

    Works in short transactions, so the server may keep running. After an interruption, deleted rows stay deleted, and
    the next run continues.
    """
    import msgspec

    from chatsys.database import cleanup as work

    if sessions_older_than is None and messages_older_than is None:
        raise OperatorError(
            "No age was given, so nothing was deleted.",
            hint="Give an age: chatsys db cleanup --sessions-older-than 1d --messages-older-than 30d",
        )
    left = "Deleted rows stay deleted; the same command continues."
    with opened_database(database_url) as (url, _), interruptible(left), working("Looking for old rows") as report:
        ages = {"sessions_older_than": sessions_older_than, "messages_older_than": messages_older_than}
        done = work.preview(url, **ages) if dry_run else work.cleanup(url, **ages, report=report)
    if form == "json":
        typer.echo(json.dumps({"dry_run": dry_run, **msgspec.to_builtins(done)}))
        return
    if not done.sessions and not done.messages:
        typer.echo("Nothing is that old.")
        return
    deleted = "Would delete" if dry_run else "Deleted"
    typer.echo(f"{deleted} {done.sessions:,} sessions and {done.messages:,} messages, {shown_size(done.size)} of rows.")
    if dry_run:
        typer.echo("Next: the same command without --dry-run deletes them.")
    else:
        typer.echo(f"It took {done.seconds:.1f} s; the longest transaction {done.longest_batch * 1000:.0f} ms.")
        typer.echo("New rows take the freed space; the files on disk do not shrink.")


def _say_version(name: str, done: Prepared) -> None:
    if done.adopted:
        typer.echo(f"Adopted the original backend's database {name}: {_counted(done.adopted)}.")
    if done.before == done.after:
        typer.echo(f"The schema of {name} is at version {done.after}; nothing to do.")
    elif done.before is None:
        typer.echo(f"The schema of {name} is now at version {done.after}.")
    else:
        typer.echo(f"The schema of {name} went from version {done.before} to {done.after}.")


def _counted(rows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {table}" for table, count in rows.items())
