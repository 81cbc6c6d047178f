"""What can be timed: draw an argument, call with it, check the answer, and at the end of a turn audit the effect."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from chatsys.errors import ChatsysError
from chatsys.results.names import FIND_BY_ID, FIND_BY_NAME, MARK_READ, RECENT, SEARCH, SEND, TITLES

__all__ = [
    "FIND_BY_ID", "FIND_BY_NAME", "MARK_READ", "NOOP", "PAGE", "RECENT", "SEARCH", "SEND", "TABLE", "Operation",
    "WrongAnswer", "demand", "noop",
]  # fmt: skip
NOOP = "noop"
TABLE = tuple(TITLES)
PAGE = 100


class WrongAnswer(ChatsysError):
    """A timed operation did not do what it should"""

    code = "wrong_answer"


async def _nothing() -> None:
    """Most operations need no preparation, and reads leave nothing to look after."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. Only ``call`` is timed; ``prepare`` goes before each turn.

    ``check`` looks at each answer and ``audit`` at the store after a turn; both raise WrongAnswer.
    """

    draw: Callable[[random.Random], Any]
    call: Callable[[Any], Awaitable[Any]]
    check: Callable[[Any, Any], None]
    audit: Callable[[], Awaitable[None]] = _nothing
    prepare: Callable[[], Awaitable[None]] = _nothing


def demand(true: bool, what: str) -> None:
    """Raise WrongAnswer, saying ``what`` should have been."""
    if not true:
        raise WrongAnswer(f"Expected {what}.")


def noop() -> Operation:
    """Nothing: what the harness itself costs."""

    async def nothing(_: Any) -> None:
        return

    return Operation(draw=lambda _: None, call=nothing, check=lambda _, answer: demand(answer is None, "nothing"))
