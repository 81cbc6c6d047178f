"""``chatsys conformance``: check a running server against docs/PROTOCOL.md."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import typer

from chatsys.cli.database import Yes, confirm
from chatsys.cli.errors import explain
from chatsys.cli.working import working
from chatsys.errors import OperatorError
from chatsys.extras import require

TransportName = Literal["websocket", "polling"]
OutcomeFormat = Literal["text", "json", "junit"]


def conformance(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server, such as http://127.0.0.1:3001.")],
    *,
    section: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N", help="Check only this section and its parts, such as 9 or 9.3; repeatable.", show_default="all"
        ),
    ] = None,
    transport: Annotated[TransportName, typer.Option(help="How the clients connect.")] = "websocket",
    form: Annotated[OutcomeFormat, typer.Option("--format", help="How to write the outcomes.")] = "text",
    yes: Yes = False,
) -> None:
    """Check a running server against the protocol.

    Runs the checks of each section of docs/PROTOCOL.md, over HTTP and Socket.IO. They create accounts, rooms and
    messages, whose names begin with a prefix that is printed at the end. Exit status 0 if every check passed or did not
    apply, 1 if one failed, 2 if the checks could not run.
    """
    try:
        status = _checked(url, section or [], transport, form, yes)
    except OperatorError as error:
        explain(error)
        raise typer.Exit(2) from None
    except typer.Abort:
        typer.echo("Stopped: nothing was sent.", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(status)


def _checked(url: str, sections: list[str], transport: str, form: OutcomeFormat, yes: bool) -> int:
    require("conformance")
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    from chatsys.lab.conformance import report, runner
    from chatsys.lab.conformance.check import Outcome, chosen
    from chatsys.lab.conformance.checks import all_checks
    from chatsys.lab.network.address import address, place

    target = address(url)
    checks = chosen(all_checks(), sections)
    confirm(f"{len(checks)} checks will create accounts, rooms and messages on {place(target)}. Continue?", yes=yes)
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
    with working("connecting", *columns) as show:
        show("", 0, len(checks))
        found = asyncio.run(runner.run(target, checks, transport, lambda done, whole, name: show(name, done, whole)))
    write = {"text": report.as_text, "json": report.as_json, "junit": report.as_junit}[form]
    typer.echo(write(found))
    if form != "text":
        typer.echo(report.created(found), err=True)
    return 1 if found.count(Outcome.failed) else 0
