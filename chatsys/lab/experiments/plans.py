"""EXPLAIN (ANALYZE, BUFFERS) of what the store sends: the statements of the guide's table, as its files have them.

Each runs in a transaction that is rolled back, prepared as the store prepares it, with arguments of the synthetic rows.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from chatsys.lab.datasets.synthetic import EPOCH, Synthetic
from chatsys.lab.record import StatementPlan
from chatsys.lab.workloads.operation import PAGE
from chatsys.model.rules import SEQ_MAX
from chatsys.store.postgres.admin import connected
from chatsys.store.postgres.statements import statements

_LIMIT = 50


def plans(url: str, rows: Synthetic) -> list[StatementPlan]:
    """The plan of each statement on the database at ``url``, which holds ``rows``."""
    found = []
    with connected(url) as connection:
        for name, arguments in _arguments(rows).items():
            found.append(StatementPlan(statement=name, size=rows.users, lines=_explained(connection, name, arguments)))
            connection.rollback()
    return found


def _arguments(rows: Synthetic) -> dict[str, tuple[Any, ...]]:
    middle = rows.users // 2
    target = rows.newest(0, 1)[0]
    reader = (rows.sender(target) + rows.users - 1) % rows.users
    return {
        "user_by_id": (rows.user_id(middle),),
        "user_by_name": (rows.username(middle),),
        "search_users": (f"%{rows.search_text(middle)}%", _LIMIT),
        "history": (rows.rooms[0], "", SEQ_MAX),
        "long_history": (rows.rooms[0], PAGE, PAGE, 0, SEQ_MAX, SEQ_MAX),
        "record_receipts": (
            [rows.rooms[0]],
            [rows.message_id(target)],
            [rows.user_id(reader)],
            [None],
            [EPOCH.timestamp()],
            [True],
            [rows.rooms[0]],
        ),
    }


def _explained(
    connection: psycopg.Connection[tuple[Any, ...]], name: str, arguments: tuple[Any, ...]
) -> tuple[str, ...]:
    statement = statements()[name]
    connection.execute("DISCARD PLANS")
    connection.execute(
        "SET LOCAL plan_cache_mode = 'force_custom_plan'"
        if statement.custom_plan
        else "SET LOCAL plan_cache_mode = 'auto'"
    )
    connection.execute(f"PREPARE looked_at AS {statement.text}".encode())
    explain = sql.SQL("EXPLAIN (ANALYZE, BUFFERS) EXECUTE looked_at ({})").format(
        sql.SQL(", ").join(sql.Literal(argument) for argument in arguments)
    )
    lines = connection.execute(explain).fetchall()
    connection.execute("DEALLOCATE looked_at")
    return tuple(str(line[0]) for line in lines)
