"""What must be true of the rows of every chat, whatever happened to its servers: ``database/invariants/*.sql``.

Each file holds one query that gives the rows that break its promise; the comment on top is the promise.
"""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg

from chatsys.resources import database_dir


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that rows break, how many do, and the first of them."""

    name: str
    promise: str
    count: int
    first: tuple[Any, ...]


def broken_invariants(connection: psycopg.Connection[Any]) -> list[Broken]:
    """The promises that the database does not keep, by name; none in a healthy one."""
    broken = []
    for file in sorted((database_dir() / "invariants").glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        found = connection.execute(text.encode()).fetchall()
        if found:
            promise = text.splitlines()[0].removeprefix("-- ")
            broken.append(Broken(name=file.stem, promise=promise, count=len(found), first=tuple(found[0])))
    return broken
