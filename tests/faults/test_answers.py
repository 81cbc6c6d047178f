"""The proxy that loses the answer of one commit: the transaction is committed, and everything else is forwarded."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg
import pytest

from chatsys.lab.faults.answers import AnswerProxy
from tests.proxies import socket_of


async def connected(proxy: AnswerProxy, url: str) -> asyncpg.Connection[asyncpg.Record]:
    database = urlsplit(url).path.lstrip("/")
    return await asyncpg.connect(host="127.0.0.1", port=proxy.port, user="chatsys", database=database, ssl=False)


async def test_lost_answer_of_a_commit_leaves_its_rows_stored(postgres_url: str) -> None:
    async with AnswerProxy(socket_of(postgres_url)) as proxy:
        first = await connected(proxy, postgres_url)
        await first.execute("CREATE TABLE probe (n int)")
        insert = "INSERT INTO probe VALUES ($1)"
        await first.execute(insert, 1)
        lost = proxy.lose("INSERT INTO probe")
        with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
            await first.execute(insert, 2)
        assert lost.is_set()
        second = await connected(proxy, postgres_url)
        assert [row[0] for row in await second.fetch("SELECT n FROM probe ORDER BY n")] == [1, 2]
        await second.close()


async def test_only_the_commit_of_a_transaction_loses_its_answer(postgres_url: str) -> None:
    async with AnswerProxy(socket_of(postgres_url)) as proxy:
        first = await connected(proxy, postgres_url)
        await first.execute("CREATE TABLE probe (n int)")
        lost = proxy.lose("INSERT INTO probe")
        done = 0
        with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):  # noqa: PT012 - the commit raises
            async with first.transaction():
                done += len(await first.fetch("INSERT INTO probe VALUES (1) RETURNING n"))
                done += len(await first.fetch("INSERT INTO probe VALUES (2) RETURNING n"))
        assert (done, lost.is_set()) == (2, True)
        second = await connected(proxy, postgres_url)
        assert await second.fetchval("SELECT count(*) FROM probe") == 2
        await second.close()


async def test_answers_to_other_statements_are_forwarded(postgres_url: str) -> None:
    async with AnswerProxy(socket_of(postgres_url)) as proxy:
        connection = await connected(proxy, postgres_url)
        lost = proxy.lose("INSERT INTO another")
        assert len(await connection.fetch("SELECT * FROM generate_series(1, 20000)")) == 20_000
        assert not lost.is_set()
        await connection.close()
