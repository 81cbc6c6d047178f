"""``chatsys verify``: the checklist, with ticks and times."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from chatsys.cli.database import DatabaseUrl, opened_database
from chatsys.cli.working import Format, interruptible, working

if TYPE_CHECKING:
    from chatsys.errors import OperatorError


class VerifiedStep(NamedTuple):
    """A step that ran: how long it took, and its error, if any."""

    name: str
    seconds: float
    error: OperatorError | None


def verify(
    form: Annotated[Format, typer.Option("--format", help="How to write the checks.")] = "table",
    database_url: DatabaseUrl = None,
) -> None:
    """Check that everything works.

    Uses a scratch database and its own server, and touches nothing else. Stops at the first step that fails, with exit
    status 1 and what helps.
    """
    from chatsys.cli.checklist import STEPS, Checked, attempt

    checks: list[VerifiedStep] = []
    try:
        with (
            interruptible("The scratch database and its server are gone."),
            opened_database(database_url, create=True) as (url, _),
            ExitStack() as resources,
            working("Checking") as report,
        ):
            state = Checked(url=url, resources=resources)
            for name, step, helps in STEPS:
                report(name, len(checks), len(STEPS))
                begun = time.monotonic()
                error = attempt(state, name, step, helps)
                checks.append(VerifiedStep(name, time.monotonic() - begun, error))
                if error:
                    raise error
    finally:
        _show(checks, form)
    if form == "table":
        typer.echo("Everything works. Next: `chatsys serve` starts the server.")


def _show(checks: list[VerifiedStep], form: Format) -> None:
    if form == "json":
        for each in checks:
            error = each.error.message if each.error else None
            typer.echo(json.dumps({"check": each.name, "seconds": round(each.seconds, 3), "error": error}))
        return
    for each in checks:
        typer.echo(f"{'✗' if each.error else '✓'}  {each.name:<32} {each.seconds:6.2f} s")
