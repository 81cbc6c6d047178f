"""Turns errors into the sentences that a terminal shows."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

from chatsys.errors import ChatsysError


def sentences(error: ChatsysError) -> str:
    """What is wrong and, if the error has a hint, the command or action that helps."""
    hint = getattr(error, "hint", "")
    return " ".join(_sentence(part) for part in (error.message, hint) if part)


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
    given, limits = repr(found["input"]), found.get("ctx", {})
    if found["type"] == "int_parsing":
        return f"{given} is not a whole number."
    if found["type"] == "float_parsing":
        return f"{given} is not a number."
    if found["type"] == "greater_than_equal":
        return f"{given} is less than {limits['ge']}."
    if found["type"] == "less_than_equal":
        return f"{given} is more than {limits['le']}."
    return message


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
