"""How long a task waits for the database, over all statements that it runs.

A deadline is a time of the event loop's clock. Without one, each statement has the pool's own limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

DEADLINE: ContextVar[float | None] = ContextVar("chatsys_store_deadline", default=None)


@contextmanager
def until(moment: float) -> Iterator[None]:
    """Statements in the block must end by ``moment``, whatever the pool's own limits are."""
    token = DEADLINE.set(moment)
    try:
        yield
    finally:
        DEADLINE.reset(token)
