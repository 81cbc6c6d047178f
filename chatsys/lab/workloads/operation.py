"""A timed operation: draw an argument, call, check the answer, and audit the effect after a repetition."""

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
    """The default for operations that need no preparation, and for reads, which have no effect to audit."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. Only ``call`` is timed; ``prepare`` runs before each repetition.

    ``check`` checks each answer, and ``audit`` checks the store after a repetition. Both raise WrongAnswer.
    """

    draw: Callable[[random.Random], Any]
    call: Callable[[Any], Awaitable[Any]]
    check: Callable[[Any, Any], None]
    audit: Callable[[], Awaitable[None]] = _nothing
    prepare: Callable[[], Awaitable[None]] = _nothing


def demand(true: bool, what: str) -> None:
    """Raise WrongAnswer with the expectation ``what`` unless ``true``."""
    if not true:
        raise WrongAnswer(f"Expected {what}.")


def noop() -> Operation:
    """An operation that does nothing: it shows the cost of the harness."""

    async def nothing(_: Any) -> None:
        return

    return Operation(draw=lambda _: None, call=nothing, check=lambda _, answer: demand(answer is None, "nothing"))
