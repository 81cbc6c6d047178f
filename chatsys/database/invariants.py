"""Invariants of every chat's rows, whatever happened to its servers: ``database/invariants/*.sql``.

Each file has a query that returns the rows that violate the invariant. The comment on top states the invariant.
"""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg

from chatsys.resources import database_dir


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A violated invariant: what it promises, how many rows violate it, and the first of them."""

    name: str
    promise: str
    count: int
    first: tuple[Any, ...]


def broken_invariants(connection: psycopg.Connection[Any]) -> list[Broken]:
    """The invariants that the database violates, by name. A healthy one violates none."""
    broken = []
    for file in sorted((database_dir() / "invariants").glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        found = connection.execute(text.encode()).fetchall()
        if found:
            promise = text.splitlines()[0].removeprefix("-- ")
            broken.append(Broken(name=file.stem, promise=promise, count=len(found), first=tuple(found[0])))
    return broken
