"""The examples that each command's help shows below its options."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

PAGE = 80
"""The maximum width of help, in columns."""
_INDENT = 4
"""The columns that the library adds before and after a line of the examples."""

_DATABASE = "postgresql://chatuser@localhost/chatdb"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("chatsys demo", "chatsys serve", "chatsys db status", "chatsys monitor connections"),
    "serve": ("chatsys serve", f"chatsys serve --database-url {_DATABASE} --port 8080"),
    "demo": ("chatsys demo",),
    "monitor": (
        "chatsys monitor",
        "chatsys monitor table_sizes",
        "chatsys monitor growth --days 7",
        "chatsys monitor pulse --watch --every 5",
        "chatsys monitor slow_queries --explain",
        "chatsys monitor record reports/today --for 5m",
        "chatsys monitor sessions --format csv > sessions.csv",
    ),
    "top": ("chatsys top", f"chatsys top {_DATABASE} --server http://chat.example.org:3001"),
    "doctor": ("chatsys doctor", f"chatsys doctor {_DATABASE}", "chatsys doctor --format json"),
    "verify": ("chatsys verify", f"chatsys verify --database-url {_DATABASE}"),
    "config": ("chatsys config", "chatsys config --format json"),
    "loadtest": (
        "chatsys loadtest --users 500 --minutes 2",
        "chatsys loadtest --scenario capacity --store postgresql",
        "chatsys loadtest --host http://127.0.0.1:3001 --users 100",
        "chatsys loadtest --locustfile",
    ),
    "shadow": ("chatsys shadow http://127.0.0.1:3000 http://127.0.0.1:3001 --port 3003",),
    "conformance": (
        "chatsys conformance http://127.0.0.1:3001",
        "chatsys conformance http://127.0.0.1:3001 --section 9.3 --section 14 --yes --format junit > conformance.xml",
    ),
    "notebooks": ("chatsys notebooks measured && jupyter lab measured/notebooks",),
    "export": ("chatsys export chat.snapshot", f"chatsys export chat.snapshot --from {_DATABASE}"),
    "import": (f"chatsys import chat.snapshot --to {_DATABASE}",),
    "migrate": (f"chatsys migrate --from chat.snapshot --to {_DATABASE} --verify",),
    "db": ("chatsys db init", "chatsys db backup chat.dump --verify"),
    "db init": ("chatsys db init", f"chatsys db init --database-url {_DATABASE}"),
    "db migrate": ("chatsys db backup before.dump && chatsys db migrate",),
    "db status": ("chatsys db status",),
    "db reset": ("chatsys db reset",),
    "db backup": ("chatsys db backup chat.dump --verify", "chatsys db backup chat.sql"),
    "db restore": ("chatsys db restore chat.dump",),
    "db rollback": (f"chatsys db rollback --to {_DATABASE} --dry-run",),
    "db cleanup": (
        "chatsys db cleanup --messages-older-than 30d --dry-run",
        "chatsys db cleanup --messages-older-than 30d --sessions-older-than 1d",
    ),
    "bench": (
        "chatsys bench --profile quick",
        "chatsys bench --only send_message --store postgresql",
        "chatsys bench --against main",
    ),
    "bench endpoints": ("chatsys bench endpoints --host http://127.0.0.1:3001 --against http://127.0.0.1:4001",),
    "bench list": ("chatsys bench list",),
    "bench peers": ("chatsys bench peers --profile quick",),
    "bench subject": ("chatsys bench subject",),
    "bench show": ("chatsys bench show reports/latest",),
    "bench claims": ("chatsys bench claims reports/latest",),
    "bench compare": ("chatsys bench compare reports/latest reports/runs/RUN",),
    "bench index": ("chatsys bench index",),
    "bench page": ("chatsys bench page reports/latest",),
    "bench publish": ("chatsys bench publish", "chatsys bench publish reports/runs/RUN"),
}
"""Command (its words after ``chatsys``) -> examples, the most useful first."""


def folded(example: str, width: int) -> str:
    """The command on lines of at most ``width`` columns, as a shell takes it; a longer word stays whole."""
    lines = textwrap.wrap(
        f"  {example}", width - 2, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return " \\\n".join(lines)


def epilog(command: str) -> str:
    """The examples as the end of a help text, folded to the terminal; empty for a command that has none."""
    width = min(shutil.get_terminal_size().columns, PAGE) - _INDENT
    lines = EXAMPLES.get(command, ())
    return "\n".join(["\b", "Examples:", *(folded(line, width) for line in lines)]) if lines else ""


def with_examples(command: Any, words: str = "") -> None:
    """Add examples to a command and all its sub-commands, and keep their summaries and arguments whole."""
    command.epilog = command.epilog or epilog(words)
    command.short_help = _first_sentence(command.help or "")
    for each in command.params:
        if each.param_type_name == "argument":
            _plainly(each)
    for name, below in getattr(command, "commands", {}).items():
        with_examples(below, f"{words} {name}".strip())


def _first_sentence(text: str) -> str:
    """The whole summary for a list of commands, which the library would truncate."""
    return " ".join(text.partition("\n\n")[0].split())


def _plainly(argument: Any) -> None:
    """Show an argument as manuals do: FILE if it is required, else [FILE], without a Python type."""
    argument.metavar = argument.metavar or argument.name.upper()
    shown = [argument.metavar if argument.required else f"[{argument.metavar}]"]
    argument.get_usage_pieces = lambda *_, **__: shown
    argument.display_type_rich = lambda *_, **__: None
