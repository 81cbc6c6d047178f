"""How PostgreSQL runs a statement of the store: EXPLAIN (ANALYZE, BUFFERS), prepared as the store prepares it."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from chatsys.database.connecting import Connection
from chatsys.store.postgres.statements import statements


def explained(connection: Connection, name: str, arguments: tuple[Any, ...]) -> tuple[str, ...]:
    """The plan of the statement ``name``. It runs with the arguments, so the caller must roll back."""
    statement = statements()[name]
    connection.execute("DISCARD PLANS")
    mode = "force_custom_plan" if statement.custom_plan else "auto"
    connection.execute(f"SET LOCAL plan_cache_mode = {mode}".encode())
    connection.execute(f"PREPARE looked_at AS {statement.text}".encode())
    explain = sql.SQL("EXPLAIN (ANALYZE, BUFFERS) EXECUTE looked_at ({})").format(
        sql.SQL(", ").join(sql.Literal(argument) for argument in arguments)
    )
    lines = connection.execute(explain).fetchall()
    connection.execute("DEALLOCATE looked_at")
    return tuple(str(line[0]) for line in lines)
