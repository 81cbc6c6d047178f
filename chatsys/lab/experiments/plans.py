"""EXPLAIN (ANALYZE, BUFFERS) of the store's own statements for the guide's table.

Each is prepared as in the store and runs with arguments from the synthetic rows, in a transaction that is rolled back.
"""

from __future__ import annotations

from typing import Any

from chatsys.database.connecting import connected
from chatsys.database.plans import explained
from chatsys.lab.datasets.synthetic import EPOCH, Synthetic
from chatsys.lab.record import StatementPlan
from chatsys.lab.workloads.operation import PAGE
from chatsys.model.rules import SEQ_MAX

_LIMIT = 50


def plans(url: str, rows: Synthetic) -> list[StatementPlan]:
    """The plan of each statement on the database at ``url``, which holds ``rows``."""
    found = []
    with connected(url) as connection:
        for name, arguments in _arguments(rows).items():
            found.append(StatementPlan(statement=name, size=rows.users, lines=explained(connection, name, arguments)))
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
