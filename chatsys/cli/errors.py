"""The one place where an error becomes what a person reads in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from chatsys.errors import ChatsysError


def sentences(error: ChatsysError) -> str:
    """What is wrong and, where the error knows it, the command or action that helps."""
    hint = getattr(error, "hint", "")
    return " ".join(_sentence(part) for part in (error.message, hint) if part)


def explain(error: ChatsysError) -> None:
    """Write the error to standard error, in colour on a terminal unless NO_COLOR is set."""
    line = Text.assemble(("Error:", "bold red"), " ", sentences(error))
    Console(stderr=True).print(line, soft_wrap=True)


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
