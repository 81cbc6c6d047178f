"""What commands share: the progress display, the output format, and the end by Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

Report = Callable[[str, float, float], None]
"""Takes the current step, the amount done, and the total amount (0 if unknown)."""

Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL", help="Another running server, measured in alternation; repeatable.", show_default="none"
    ),
]
Format = Literal["table", "json"]
"""How a result is written: for people, or as JSON objects, one a line."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM ended a command; the text says in which state."""


@contextmanager
def interruptible(left: str) -> Iterator[None]:
    """Raise Interrupted with the text ``left`` when Ctrl-C or SIGTERM ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(left) from None


@contextmanager
def working(title: str, *columns: ProgressColumn) -> Iterator[Report]:
    """Show step, progress and elapsed time, or these columns, during the block, if standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    words = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    usual = SpinnerColumn(), words, BarColumn(20), TaskProgressColumn(show_speed=False), TimeElapsedColumn()
    with Progress(
        *(columns or usual), console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as shown:
        task = shown.add_task(title, total=None)

        def report(doing: str, done: float, whole: float) -> None:
            shown.update(task, description=doing or title, completed=min(done, whole), total=whole or None)

        yield report
