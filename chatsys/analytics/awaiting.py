"""Queries over a caller's asyncpg connection, which only the event loop that opened it can use."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class AsyncpgConnection(Protocol):
    """The methods of an asyncpg.Connection that the monitor uses."""

    def fetch(self, query: str, /, *, timeout: float | None = None) -> Any:
        """The rows of a query."""

    def fetchrow(self, query: str, /, *, timeout: float | None = None) -> Any:
        """The first row of a query."""

    def transaction(self, *, readonly: bool = False) -> AbstractAsyncContextManager[Any]:
        """A transaction, or a savepoint in the caller's own."""


async def first_row(connection: AsyncpgConnection, query: str, timeout: float) -> tuple[Any, ...]:
    """The first row of a query."""
    return tuple(await connection.fetchrow(query, timeout=timeout))


async def rows_of(
    connection: AsyncpgConnection, statement: str, values: dict[str, int], timeout: float
) -> list[tuple[Any, ...]]:
    """The rows of a query of the catalogue, from a read-only transaction. ``values`` are whole numbers."""
    written = re.sub(r"(?<![:\w]):([a-z]\w*)", lambda found: str(int(values[found[1]])), statement)
    async with connection.transaction(readonly=True):
        return [tuple(row) for row in await connection.fetch(written, timeout=timeout)]
