"""Prints docs/CLI.md: the help of every command, as a terminal of 80 columns shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import typer
from typer.testing import CliRunner

from chatsys.cli import app


def markdown() -> str:
    """The page."""
    lines = [
        "# Commands",
        "",
        "<!-- Made by `make docs` from chatsys/cli. -->",
        "",
        "The help of every command. [OPERATIONS.md](OPERATIONS.md) shows what the commands for a database print,",
        "[BENCHMARKS.md](BENCHMARKS.md) and [LOADTESTING.md](LOADTESTING.md) explain those that measure.",
    ]
    for words in _commands(typer.main.get_command(app), ()):
        lines += ["", f"## chatsys {' '.join(words)}".rstrip(), "", "```text", _help(words), "```"]
    return "\n".join(lines) + "\n"


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The words after ``chatsys`` of this command, and of all below it."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, (*words, name))


def _help(words: tuple[str, ...]) -> str:
    with patch.dict("os.environ", {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}):
        shown = CliRunner().invoke(app, [*words, "--help"], prog_name="chatsys")
    if shown.exit_code:
        raise SystemExit(f"chatsys {' '.join(words)} --help failed: {shown.output}")
    return "\n".join(line.rstrip() for line in shown.output.strip().splitlines())


if __name__ == "__main__":
    print(markdown(), end="")
