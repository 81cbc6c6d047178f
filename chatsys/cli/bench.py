"""``chatsys bench``: measure both stores, and work with the records of runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chatsys.settings import read_settings

app = typer.Typer(help="Measure memory against PostgreSQL, and compare runs.", invoke_without_command=True)

INVALID = 2
INTERRUPTED = 130


class ProfileName(StrEnum):
    """quick: under 60 s. standard: under 5 minutes. full: 1,000,000 users and 5,000,000 messages, under 45 minutes."""

    quick = "quick"
    standard = "standard"
    full = "full"


class StoreName(StrEnum):
    """Which store to measure alone."""

    memory = "memory"
    postgresql = "postgresql"


class Depth(StrEnum):
    """store: calls of the store. http: REST requests. socket: Socket.IO events."""

    store = "store"
    http = "http"
    socket = "socket"


@app.callback()
def bench(  # noqa: PLR0917 - each is an option, given by name
    context: typer.Context,
    profile: Annotated[ProfileName, typer.Option(help="How much to measure.")] = ProfileName.standard,
    only: Annotated[
        str, typer.Option(metavar="NAMES", help="Operations and experiments by the beginnings of their names: a,b.")
    ] = "",
    store: Annotated[StoreName | None, typer.Option(help="One store alone.", show_default="both")] = None,
    depth: Annotated[Depth | None, typer.Option(help="One depth alone.", show_default="all")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the rows, the draws and the intervals.")] = 1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the report goes.")] = Path("reports/latest"),
) -> None:
    """Measure both stores and write a report.

    Exit status 0 for a valid run, 2 for an INVALID one (the report says why), 130 after Ctrl-C (what was measured is
    written, marked partial). PostgreSQL is the one of DATABASE_URL, else the private one.
    """
    if context.invoked_subcommand is not None:
        return
    settings = read_settings({})
    from chatsys.lab import record
    from chatsys.lab.profiles import PROFILES
    from chatsys.lab.report.bench import page, verdict
    from chatsys.lab.report.tables import guide_table
    from chatsys.lab.running import Request, run
    from chatsys.lab.stage import DEPTHS, STORES

    request = Request(
        profile=PROFILES[profile.value],
        database_url=settings.database_url,
        data_dir=settings.data_dir / "postgres",
        seed=seed,
        only=tuple(filter(None, only.split(","))),
        stores=(store.value,) if store else STORES,
        depths=(depth.value,) if depth else DEPTHS,
    )
    with _progress() as tell:
        result, samples = asyncio.run(run(request, tell))
    record.save(result, samples, out)
    page(result, samples).write(out)
    console = Console()
    if result.operations:
        console.print(guide_table(result).rich())
    if verdict(result):
        console.print(verdict(result).replace("**", ""), soft_wrap=True)
    console.print(f"Report: {out / 'index.html'}", soft_wrap=True)
    sys.exit(INTERRUPTED if result.partial else 0 if result.valid else INVALID)


@contextmanager
def _progress() -> Iterator[Callable[[str, bool, int], None]]:
    """A bar on standard error; a step's end moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        steps = -1

        def tell(text: str, done: bool, total: int) -> None:
            nonlocal steps
            steps += done
            bar.update(task, description=text, completed=max(0, steps), total=total or None)

        yield tell
