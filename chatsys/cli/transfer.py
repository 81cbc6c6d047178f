"""``chatsys export``, ``import`` and ``migrate``: move what a store remembers through a snapshot file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from chatsys.cli.database import confirm
from chatsys.errors import OperatorError
from chatsys.extras import require
from chatsys.settings import read_settings

if TYPE_CHECKING:
    from chatsys.store.comparison import Comparison
    from chatsys.store.contract import Store
    from chatsys.store.snapshot import Progress, Trailer

File = Annotated[Path, typer.Argument(metavar="FILE", help="The snapshot file.")]
Source = Annotated[
    str | None, typer.Option("--from", metavar="URL", help="The store; default DATABASE_URL, else the embedded one.")
]
Target = Annotated[
    str | None, typer.Option("--to", metavar="URL", help="The database; default DATABASE_URL, else the embedded one.")
]


def export(
    file: File,
    source: Source = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing file without asking.")] = False,
) -> None:
    """Write accounts, rooms and messages to a snapshot file.

    Receipts go with their messages. The file holds password hashes, so only its owner can read it. A memory store lives
    inside its server: send that one SIGUSR1, and it writes its own.
    """
    url = _refuse_memory(source, "A server on memory:// writes its own snapshot: kill -USR1 its process id.")
    if url is None or url.startswith("embedded://"):
        require("embedded")
        from chatsys.store.embedded import require_cluster

        folder = (url or "").removeprefix("embedded://")
        require_cluster(Path(folder) if folder else read_settings({}, serving=False).data_dir / "postgres")
    if file.exists():
        confirm(f"{file} exists. Replace it?", yes=yes)
    asyncio.run(_export(file, source))


def import_(file: File, target: Target = None) -> None:
    """Bring a snapshot file into a database.

    Run again after an interruption, it goes on where it stopped. What is there already stays as it is, so that
    importing twice is importing once.
    """
    _refuse_memory(target, "A server on memory:// takes a snapshot up itself: chatsys serve --snapshot FILE.")
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
    asyncio.run(_import(snapshot, target, verify=verify))


def _refuse_memory(url: str | None, hint: str) -> str | None:
    """The address that ``url`` and the settings give. Raises OperatorError if it is the memory store's."""
    chosen = read_settings({"DATABASE_URL": url}, serving=False).database_url
    if chosen == "memory://":
        raise OperatorError("A memory store is empty outside its server.", hint=hint)
    return chosen


async def _export(file: Path, url: str | None) -> None:
    from chatsys.store import snapshot

    async with _store(url) as store:
        with _progress(f"Exporting to {file}", None) as progress:
            trailer = await snapshot.write(store, file, datetime.now(UTC), progress)
    typer.echo(f"Exported {_counted(trailer)} to {file}.")


async def _import(file: Path, url: str | None, *, verify: bool) -> None:
    from chatsys.store import snapshot
    from chatsys.store.comparison import compare

    expected = snapshot.check(file)
    async with _store(url) as store:
        with _progress(f"Importing {file}", expected) as progress:
            added = await snapshot.load(store, file, progress)
        typer.echo(f"Imported {_counted(expected)}: {added:,} records were new.")
        if not verify:
            return
        with _progress("Comparing both sides", expected) as progress:
            result = await compare(store, file, expected, progress)
    _print_proof(result)
    if not result.equal:
        raise OperatorError(
            f"{result.different:,} records differ. {'; '.join(result.examples)}.",
            hint="Move into an empty database, with no server on it yet.",
        )


@asynccontextmanager
async def _store(url: str | None) -> AsyncIterator[Store]:
    from chatsys import app
    from chatsys.store.opening import open_store

    settings = read_settings({"DATABASE_URL": url}, serving=False)
    async with open_store(settings.database_url, app.store_options(settings)) as store:
        yield store


@contextmanager
def _progress(title: str, expected: Trailer | None) -> Iterator[Progress]:
    """A bar of records on standard error, where that is a terminal."""
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("records"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=expected.counts.records if expected else None)
        yield lambda records: bar.advance(task, records)


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
