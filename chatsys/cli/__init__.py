"""The command line: registers the sub-commands, and turns errors into one or two sentences.

The modules beside this one import only what parsing needs; each command imports its machinery when it runs, so that
``chatsys --help`` and completion answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer

import chatsys
from chatsys.cli import (
    bench,
    config,
    conformance,
    db,
    demo,
    doctor,
    loadtest,
    monitor,
    notebooks,
    serve,
    shadow,
    top,
    transfer,
    verify,
)
from chatsys.cli.errors import explain, explain_usage
from chatsys.cli.help import with_examples
from chatsys.cli.masking import mask_passwords
from chatsys.cli.working import Interrupted
from chatsys.errors import ChatsysError
from chatsys.interrupts import turn_into_interrupts

INTERRUPTED = 130
UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # what the parser raises for a command line it can't read

app = typer.Typer(
    name="chatsys",
    help="A chat server on memory and PostgreSQL, and the lab that compares them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: it keeps brackets and folds at any width
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chatsys {chatsys.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the sub-command."""


_COMMANDS: tuple[Callable[..., None], ...] = (
    serve.serve, demo.demo, monitor.monitor, top.top, doctor.doctor, verify.verify, loadtest.loadtest,
    conformance.conformance, shadow.shadow, notebooks.notebooks, config.config, transfer.export,
)  # fmt: skip
for _command in _COMMANDS:
    app.command()(_command)
app.command("import")(transfer.import_)
app.command()(transfer.migrate)
app.add_typer(bench.app, name="bench")
app.add_typer(db.app, name="db")


def _allow_many_connections() -> None:
    """Raise the limit of open files to the system's: each connection is one, and a shell often allows only 1,024."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS reports an infinite limit, and refuses to set it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Run the command line. Exit status 1 for an error of chatsys, 2 for wrong usage, 130 for Ctrl-C and SIGTERM."""
    command = typer.main.get_command(app)
    with_examples(command)
    turn_into_interrupts()
    mask_passwords()
    _allow_many_connections()
    try:
        status = command.main(prog_name="chatsys", standalone_mode=False)
        if status == INTERRUPTED:
            typer.echo("Interrupted.", err=True)
        sys.exit(status)
    except ChatsysError as error:
        explain(error)
        sys.exit(1)
    except UsageError as error:
        explain_usage(error)
        sys.exit(2)
    except typer.Abort:  # a question was answered with no, or not at all
        typer.echo("Stopped: nothing was changed.", err=True)
        sys.exit(1)
    except Interrupted as stop:
        typer.echo(f"Interrupted. {stop}", err=True)
        sys.exit(INTERRUPTED)
