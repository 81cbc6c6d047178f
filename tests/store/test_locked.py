"""A row that another program has locked delays only those that need it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import psycopg
import pytest

from chatsys.errors import StoreUnavailable


async def started(verb: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start the verb as a task."""
    task = asyncio.create_task(verb)
    await asyncio.sleep(0)
    return task


async def test_locked_room_delays_no_other_room_and_keeps_its_order(pg, postgres_url, hands):
    who = hands.guest()
    for room in "ABC":
        await pg.open_session(hands.entry(who, room=room, socket_id=room))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("SELECT FROM rooms WHERE room_name = 'A' FOR UPDATE")
        waiting = [
            await started(pg.post_message(hands.new_message(who, room=room, text=f"{room}{number}")))
            for number in range(10)
            for room in "ABC"
        ]
        for number in range(10, 20):
            waiting.append(await started(pg.post_message(hands.new_message(who, room="A", text=f"A{number}"))))
            for room in "BC":
                await pg.post_message(hands.new_message(who, room=room, text=f"{room}{number}"))
        await pg.open_session(hands.entry(hands.guest("new"), room="B"))
        free = [task for task in waiting if task.done()]
        assert {(await task).message.room for task in free} == {"B", "C"}
        assert len(free) == 20
    await asyncio.gather(*waiting)
    for room in "ABC":
        history = await pg.history(room, 100)
        assert [message.text for message in history] == [f"{room}{number}" for number in range(20)]
        assert [message.seq for message in history] == list(range(1, 21))


async def test_locked_account_delays_only_its_own_writes(pg, postgres_url, hands):
    ann, ben = await hands.account(pg, "ann"), await hands.account(pg, "ben")
    message = (await pg.post_message(hands.new_message(ben))).message
    with psycopg.connect(postgres_url) as connection:
        connection.execute("SELECT FROM users WHERE username = 'ann' FOR UPDATE")
        held = [
            await started(pg.post_message(hands.new_message(ann))),
            await started(pg.mark_read("tea", message.message_id, ann, hands.now())),
            await started(pg.open_session(hands.entry(ann))),
            await started(pg.set_online(ann.user_id, True, hands.now())),
        ]
        reader = hands.guest("reader")
        await pg.post_message(hands.new_message(ben))
        await pg.mark_read("tea", message.message_id, reader, hands.now())
        session = (await pg.open_session(hands.entry(ben))).session
        await pg.set_online(ben.user_id, True, hands.now())
        await pg.close_session(session.session_id, hands.now())
        assert not any(task.done() for task in held)
    await asyncio.gather(*held)


@pytest.mark.parametrize("statement", ["SELECT FROM rooms WHERE room_name = 'A' FOR UPDATE", "LOCK TABLE rooms"])
async def test_write_that_waits_too_long_for_a_lock_is_refused(postgres_url, hands, statement: str) -> None:
    who = hands.guest()
    async with hands.opened(postgres_url, statement_timeout=0.5, connect_timeout=0.5) as store:
        await store.open_session(hands.entry(who, room="A"))
        with psycopg.connect(postgres_url) as connection:
            connection.execute(statement)
            outcomes = await asyncio.gather(
                *(store.post_message(hands.new_message(who, room="A")) for _ in range(5)), return_exceptions=True
            )
        assert [isinstance(outcome, StoreUnavailable) for outcome in outcomes] == [True] * 5
        assert (await store.post_message(hands.new_message(who, room="A"))).message.seq == 1
