"""``chatsys config``: each setting, its value, and where it comes from."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from chatsys.cli.working import Format
from chatsys.settings import explained


def config(
    form: Annotated[Format, typer.Option("--format", help="How to write the settings.")] = "table",
) -> None:
    """Show each setting, its value and its origin.

    The origin is the environment, the .env file of this folder, or the default. Secrets and the passwords of addresses
    are hidden. Exit status 1 for a value that the server would refuse; the message says what is allowed.
    docs/SETTINGS.md explains them all.
    """
    found = explained()
    if form == "json":
        for each in found:
            typer.echo(json.dumps({"name": each.name, "value": each.value, "unit": each.unit, "origin": each.origin}))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("origin", no_wrap=True)
    for each in found:
        style = "" if each.origin == "default" else "bold"
        table.add_row(*(Text(cell, style) for cell in (each.name, _with_unit(each.value, each.unit), each.origin)))
    Console().print(table)
    given = sum(each.origin != "default" for each in found)
    typer.echo(f"{given} of {len(found)} settings are given. The server reads them once, at its start.")


def _with_unit(value: str, unit: str) -> str:
    """1 process, 2 processes."""
    one = unit.removesuffix("es") if unit.endswith("sses") else unit.removesuffix("s")
    return f"{value} {one if value == '1' else unit}".strip()
