"""``chatsys demo``: show in a minute that the server keeps its promises."""

from __future__ import annotations

import typer

from chatsys.extras import require


def demo() -> None:
    """Show a chat that survives kill -9, then 20 seconds of load and its verdict.

    Takes less than a minute and leaves nothing behind: a private PostgreSQL, the servers and their data are in a
    temporary folder. Exit status 0 if nothing was lost, 1 if anything was, 2 if the machine was too busy to measure,
    130 after Ctrl-C.
    """
    require("loadtest")
    from chatsys.lab.demo import run

    raise typer.Exit(run(typer.echo))
