"""``chatsys verify``: the checklist, with ticks and times."""

from __future__ import annotations

import time
from contextlib import ExitStack

from chatsys.cli.database import DatabaseUrl, opened_database


def verify(database_url: DatabaseUrl = None) -> None:
    """Check that everything works.

    On a scratch database and a server of its own; nothing else is touched. Exit status 1 at the first step that fails,
    with what helps.
    """
    from rich.console import Console
    from rich.table import Table

    from chatsys.cli.checklist import STEPS, Checked, attempt

    table = Table(box=None)
    for heading in ("", "check", "seconds"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    console = Console()
    try:
        with (
            opened_database(database_url, create=True) as (url, _),
            ExitStack() as resources,
            console.status("") as shown,
        ):
            state = Checked(url=url, resources=resources)
            for name, step, helps in STEPS:
                shown.update(name)
                begun = time.monotonic()
                failed = attempt(state, name, step, helps)
                table.add_row("✗" if failed else "✓", name, f"{time.monotonic() - begun:.2f}")
                if failed:
                    raise failed
    finally:
        if table.row_count:
            console.print(table)
