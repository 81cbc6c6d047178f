"""``chatsys top``: one live screen for a chat and its database."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from chatsys.cli.database import DatabaseArgument, settings_for


def top(
    url: DatabaseArgument = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", metavar="URL", help="A chat server, for its /metrics; default http://127.0.0.1 and PORT."
        ),
    ] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.5, help="Seconds between two samples.")] = 2.0,
) -> None:
    """Show a chat and its database live, as rates.

    Shows messages, deliveries, lag, flushes, CPU, commits, WAL, cache, connections and locks; below them the busiest
    rooms, the running statements, or which session waits for which. A value past its threshold is coloured, marked and
    explained. Keys: q quit, space pause, 1 2 3 pane, s sort, h help. Without a terminal it prints one screen.
    """
    settings = settings_for(url)
    from chatsys.analytics import Monitor
    from chatsys.analytics.top import Looker
    from chatsys.analytics.top.running import once, run
    from chatsys.cli.monitor import address_of

    with Monitor(address_of(settings), timeout=5.0) as monitor:
        looker = Looker(monitor, server or f"http://127.0.0.1:{settings.port}")
        title = f"chatsys top  {monitor.address.database} on {monitor.address.where}"
        if sys.stdin.isatty() and sys.stdout.isatty():
            run(looker, title, every)
        else:
            for line in once(looker, title, every, int(os.environ.get("COLUMNS", "80"))):
                typer.echo(line.plain.rstrip())
