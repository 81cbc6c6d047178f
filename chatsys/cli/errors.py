"""Turns errors into the sentences that a terminal shows."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

from chatsys.errors import ChatsysError

_WORDS = {
    "int_parsing": "is not a whole number",
    "float_parsing": "is not a number",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
}
"""Our words for the errors of the library that reads numbers, by its names for them."""


def sentences(error: ChatsysError) -> str:
    """What is wrong and, if the error has a hint, the command or action that helps."""
    return " ".join(_sentence(part) for part in (error.message, error.hint) if part)


def explain(error: ChatsysError) -> None:
    """Write the error to standard error, in colour on a terminal unless NO_COLOR is set."""
    line = Text.assemble(("Error:", "bold red"), " ", sentences(error))
    Console(stderr=True).print(line, soft_wrap=True)


def explain_usage(error: Any) -> None:
    """Write what is wrong with the command line to standard error, and how to get help."""
    error.message = _in_words(error)
    message = re.sub(r"Value error, |Got ", "", error.format_message())
    context = error.ctx
    if context is None or message.startswith("Usage:"):  # a group without a command shows its help
        Console(stderr=True).print(Text(message), soft_wrap=True)
        return
    line = Text.assemble(("Error:", "bold red"), " ", _sentence(message[:1].upper() + message[1:]))
    console = Console(stderr=True)
    console.print(line, soft_wrap=True)
    console.print(Text(f"{context.get_usage()}\nHelp: {context.command_path} -h"), soft_wrap=True)


def _in_words(error: Any) -> str:
    """The error's message, in our own words where the parser would show those of a library."""
    message: str = error.message
    read_errors = getattr(error.__cause__, "errors", None)
    if read_errors is None:
        return message
    found = read_errors()[0]
    words = _WORDS.get(found["type"])
    return f"{found['input']!r} {words.format(**found.get('ctx', {}))}." if words else message


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
