"""Queries over a connection of asyncpg's, which only the event loop that made it can use."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class AsyncpgConnection(Protocol):
    """What is used of an asyncpg.Connection."""

    def fetch(self, query: str, /, *, timeout: float | None = None) -> Any:
        """The rows of a query."""

    def fetchrow(self, query: str, /, *, timeout: float | None = None) -> Any:
        """The first row of a query."""

    def transaction(self, *, readonly: bool = False) -> AbstractAsyncContextManager[Any]:
        """A transaction, or a savepoint in the caller's own."""


async def ask(connection: AsyncpgConnection, facts: str, timeout: float) -> tuple[Any, ...]:
    """One row, such as what the server is."""
    return tuple(await connection.fetchrow(facts, timeout=timeout))


async def rows_of(
    connection: AsyncpgConnection, statement: str, values: dict[str, int], timeout: float
) -> list[tuple[Any, ...]]:
    """The rows of a query of the catalogue in a transaction that only reads. ``values`` are whole numbers."""
    written = re.sub(r"(?<![:\w]):([a-z]\w*)", lambda found: str(int(values[found[1]])), statement)
    async with connection.transaction(readonly=True):
        return [tuple(row) for row in await connection.fetch(written, timeout=timeout)]
