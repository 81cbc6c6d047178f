"""``chatsys doctor``: what is wrong with a database, the worst first, and what to do."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatsys.cli.database import DatabaseArgument, settings_for
from chatsys.cli.working import Format

if TYPE_CHECKING:
    from chatsys.analytics.doctor import Diagnosis, Finding


def doctor(
    url: DatabaseArgument = None,
    form: Annotated[Format, typer.Option("--format", help="How to write the findings.")] = "table",
) -> None:
    """Report what is wrong with a database, and what to do.

    Examines any PostgreSQL from 14 to 18, with or without a chat in it, and changes nothing. The worst finding comes
    first. Each has its evidence, the command that helps and where to read more. Exit status 0 and one line if all is
    well, else 1.
    """
    settings = settings_for(url)
    from chatsys.analytics import Monitor
    from chatsys.analytics.doctor import examine
    from chatsys.cli.monitor import address_of

    with Monitor(address_of(settings), timeout=10.0) as monitor:  # the limit for each rule
        found = examine(monitor)
    if form == "json":
        for each in found.findings:
            typer.echo(json.dumps(_plain(each), ensure_ascii=False))
    else:
        _show(found)
    raise typer.Exit(0 if found.is_well else 1)


def _plain(each: Finding) -> dict[str, Any]:
    return {
        "harm": each.rule.harm.name,
        "rule": each.rule.code,
        "object": each.object,
        "evidence": each.evidence,
        "why": each.rule.why,
        "command": each.command,
        "source": each.rule.source,
    }


def _show(found: Diagnosis) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    styles = {1: "bold red", 2: "red", 3: "yellow", 4: "cyan"}
    last = None
    for number, each in enumerate(found.findings, start=1):
        harm = each.rule.harm
        if harm is not last:
            console.print(Text(harm.words, style=styles[int(harm)]))
            last = harm
        console.print(Text.assemble(f"{number}. ", (f"{each.object}", "bold"), f"  [{each.rule.code}]"))
        for name, words in (("Seen", each.evidence), ("Harm", each.rule.why)):
            folded = textwrap.fill(f"{name}: {words}", console.width, initial_indent="   ", subsequent_indent=" " * 9)
            console.print(Text(folded))
        for name, words in (("Do", each.command), ("Read", each.rule.source)):  # to be copied: not folded
            console.print(Text(f"   {name + ':':<5} {words}"), soft_wrap=True)
        console.print()
    skipped = f"; skipped: {', '.join(found.skipped)}" if found.skipped else ""
    count = len(found.findings)
    total = "no findings" if found.is_well else f"{count} finding{'' if count == 1 else 's'}"
    console.print(Text(f"{found.database}: {found.applied} rules, {total}{skipped}."), soft_wrap=True)
