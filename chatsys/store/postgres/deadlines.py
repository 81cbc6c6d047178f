"""Until when a task is willing to wait for the database, for whatever it calls.

A deadline is a moment of the running loop's clock. Without one, each statement gets the pool's own limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

DEADLINE: ContextVar[float | None] = ContextVar("chatsys_store_deadline", default=None)


@contextmanager
def until(moment: float) -> Iterator[None]:
    """In the block, statements have until ``moment``, whatever the pool's own limits are."""
    token = DEADLINE.set(moment)
    try:
        yield
    finally:
        DEADLINE.reset(token)


def within(seconds: float) -> AbstractContextManager[None]:
    """In the block, statements have together ``seconds`` from now."""
    return until(asyncio.get_running_loop().time() + seconds)
