"""The statements: a real server accepts each one."""

from __future__ import annotations

import asyncpg
import pytest

from chatsys.store.postgres.statements import statements


@pytest.mark.database
@pytest.mark.parametrize("server", ["postgres_url", "postgres15_url"])
async def test_every_statement_can_be_prepared(server: str, request: pytest.FixtureRequest) -> None:
    connection = await asyncpg.connect(request.getfixturevalue(server))
    try:
        for statement in statements().values():
            await connection.prepare(statement.text)
    finally:
        await connection.close()
