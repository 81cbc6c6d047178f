"""``chatsys export``, ``import`` and ``migrate``: move the data of a store through a snapshot file."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from chatsys.cli.database import confirm, estimated_rows, opened_database, private_folder, settings_for
from chatsys.cli.working import Report, interruptible, working
from chatsys.errors import OperatorError
from chatsys.settings import Settings

if TYPE_CHECKING:
    from chatsys.database.comparison import Comparison
    from chatsys.database.snapshot import Progress, Trailer

_RESUMABLE = "Imported records stay; the same command continues where this one stopped."

File = Annotated[Path, typer.Argument(metavar="FILE", help="The snapshot file.")]
Source = Annotated[
    str | None,
    typer.Option("--from", metavar="URL", help="The database; default DATABASE_URL, else the private PostgreSQL."),
]
Target = Annotated[
    str | None,
    typer.Option("--to", metavar="URL", help="The database; default DATABASE_URL, else the private PostgreSQL."),
]


def export(
    file: File,
    source: Source = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing file without asking.")] = False,
) -> None:
    """Write accounts, rooms and messages to a snapshot file.

    Messages include their receipts. The file holds password hashes, so only its owner can read it. A memory store lives
    inside its server: send the server SIGUSR1, and it writes its own snapshot.
    """
    _refuse_memory(source, "A server on memory:// writes its own snapshot: kill -USR1 its process id.")
    with opened_database(source) as (url, settings):
        if file.exists():
            confirm(f"{file} exists. Replace it?", yes=yes)
        with interruptible("No file was written."):
            asyncio.run(_export(file, url, settings))


def import_(file: File, target: Target = None) -> None:
    """Import a snapshot file into a database.

    After an interruption, the same command continues where it stopped. Records that already exist stay unchanged, so
    importing twice has the same result as importing once.
    """
    _refuse_memory(target, "A server on memory:// loads a snapshot itself: chatsys serve --snapshot FILE.")
    with interruptible(_RESUMABLE):
        asyncio.run(_import(file, target, verify=False))


def migrate(
    snapshot: Annotated[Path, typer.Option("--from", metavar="SNAPSHOT", help="The snapshot file.")],
    target: Target = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Then compare both sides record by record and print the proof.")
    ] = False,
) -> None:
    """Move a memory server's snapshot into a database.

    With --verify it proves that nothing is lost or doubled.
    """
    _refuse_memory(target, "Give a database: --to postgresql://…")
    with interruptible(_RESUMABLE):
        asyncio.run(_import(snapshot, target, verify=verify))


def _refuse_memory(url: str | None, hint: str) -> None:
    """Raise OperatorError if ``url``, or else the settings, name the memory store."""
    if settings_for(url).database_url == "memory://":
        raise OperatorError("A memory store is empty outside its server.", hint=hint)


async def _export(file: Path, url: str, settings: Settings) -> None:
    from chatsys.database import snapshot
    from chatsys.database.opening import open_prepared_store
    from chatsys.server.composition import store_options

    whole = estimated_rows(url, "users", "rooms", "messages")
    address = settings.database_url if private_folder(settings) is None else url  # may have options unknown to libpq
    async with open_prepared_store(address, store_options(settings)) as store:
        with working(f"Exporting to {file}") as report:
            trailer = await snapshot.write(store, file, datetime.now(UTC), _records(report, whole))
    typer.echo(f"Exported {_counted(trailer)} to {file}.")
    typer.echo(f"Next: `chatsys migrate --from {file} --to URL --verify` imports it into a database and proves it.")


async def _import(file: Path, url: str | None, *, verify: bool) -> None:
    from chatsys.database import snapshot
    from chatsys.database.comparison import compare
    from chatsys.database.opening import open_prepared_store
    from chatsys.server.composition import store_options

    with working(f"Checking {file}") as report:
        expected = snapshot.check(file, lambda done, whole: report("", done, whole))
    settings = settings_for(url)
    async with open_prepared_store(settings.database_url, store_options(settings)) as store:
        with working(f"Importing {file}") as report:
            added = await snapshot.load(store, file, _records(report, expected.counts.records))
        typer.echo(f"Imported {_counted(expected)}: {added:,} records were new.")
        if not verify:
            typer.echo("Next: `chatsys serve` on this database; `chatsys migrate --verify` would prove the import.")
            return
        with working("Comparing both sides") as report:
            result = await compare(store, file, expected, _records(report, expected.counts.records))
    _print_proof(result)
    if not result.equal:
        raise OperatorError(
            f"{result.different:,} records differ. {'; '.join(result.examples)}.",
            hint="Import into an empty database that no server uses yet.",
        )
    typer.echo("Nothing is lost or doubled. Next: `chatsys serve` on this database.")


def _records(report: Report, whole: float) -> Progress:
    """Adds up the records of each call, and reports them."""
    done = 0

    def advance(records: int) -> None:
        nonlocal done
        done += records
        report("", done, whole)

    return advance


def _counted(trailer: Trailer) -> str:
    counts = trailer.counts
    return (
        f"{counts.users:,} users, {counts.rooms:,} rooms, {counts.messages:,} messages,"
        f" {counts.deliveries:,} deliveries and {counts.reads:,} reads"
    )


def _print_proof(result: Comparison) -> None:
    table = Table("", "snapshot", "database", "", title="Both sides, record by record")
    for name in result.snapshot.counts.__struct_fields__:
        here, there = getattr(result.snapshot.counts, name), getattr(result.store.counts, name)
        table.add_row(name, f"{here:,}", f"{there:,}", "equal" if here == there else "different")
    sums = result.snapshot.sha256, result.store.sha256
    table.add_row("SHA-256", *(f"{each[:16]}…" for each in sums), "equal" if sums[0] == sums[1] else "different")
    Console().print(table)
