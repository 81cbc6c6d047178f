"""Lists of users and receipts in rooms of many: every member has the current list, and the store is left alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatsys.chat import conversation
from chatsys.chat.fanout import MessageDelivered, MessageRead, Typing
from chatsys.realtime import channel, lists, receipts, roster
from chatsys.realtime.lists import HOLD, HOLD_MOST, hold

from .conftest import Ear, Make, Server, settle


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held back for longer than a moment, and a list of more than five is cut."""
    monkeypatch.setattr(lists, "HOLD", 0.0)
    monkeypatch.setattr(lists, "RATE", 1e9)
    monkeypatch.setattr(receipts, "HOLD", 0.0)
    monkeypatch.setattr(channel, "LISTED", 5)


async def crowd(server: Server, count: int, room: str = "r") -> list[Ear]:
    return [(await server.enter(room, f"u{number}"))[0] for number in range(count)]


def small(server: Server, sessions: int) -> None:
    """Take rooms with more sessions for large."""
    object.__setattr__(server.chat, "limits", type(server.chat.limits)(large_room=sessions))


def test_the_delay_grows_with_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [hold(size) for size in (0, 1000, 65_536, 655_360, 10**7)] == [HOLD, HOLD, 1.0, 10.0, HOLD_MOST]


async def test_every_member_gets_the_current_list_with_itself_in_it(make_server: Make) -> None:
    server = await make_server()
    ears = await crowd(server, 8)
    await settle(lambda: all(ear.users()[-1] == "u7" for ear in ears))
    assert ears[7].users() == ["u3", "u4", "u5", "u6", "u7"]
    assert ears[0].users() == ["u0", "u3", "u4", "u5", "u6", "u7"]
    server.routes.ended(ears[7])
    await settle(lambda: all(ear.users()[-1] == "u6" for ear in ears[:7]))
    assert ears[1].users() == ["u1", "u2", "u3", "u4", "u5", "u6"]


async def test_joins_of_a_room_that_is_known_do_not_read_it(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "ALWAYS_READ", 2)
    monkeypatch.setattr(roster, "READ_AGAIN", 60.0)
    server = await make_server()
    await crowd(server, 3)
    reads = 0
    whole = server.chat.store.sessions

    async def counted(room: str) -> Any:
        nonlocal reads
        reads += 1
        return await whole(room)

    monkeypatch.setattr(server.chat.store, "sessions", counted)
    ears = await crowd(server, 20)
    await settle(lambda: all(ear.users()[-1] == "u19" for ear in ears))
    assert reads == 0


async def test_a_large_room_is_told_of_messages_and_lists_alone(make_server: Make) -> None:
    server = await make_server()
    small(server, 3)
    first, session = await server.enter("r", "first")
    ears = await crowd(server, 6)
    await server.fanout.publish(Typing(room="r", who=session.who, socket_id=session.socket_id, is_typing=True))
    await conversation.send(server.chat, session, "hello")
    server.routes.ended(ears.pop())
    await settle(lambda: first.users()[-1] == "u4")
    assert first.names().count("user-joined") == 2
    assert {"user-left", "user-typing", "user-status-update"}.isdisjoint(first.names())
    assert all(ear.seqs() == [1] for ear in [first, *ears])


async def test_receipts_of_one_message_are_merged_in_a_large_room(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "IDS_MOST", 3)
    server = await make_server()
    small(server, 2)
    ear, session = await server.enter("r", "ann")
    await crowd(server, 3)
    now = server.chat.clock.now()
    for count in (1, 2, 5):
        ids = [f"g{number}" for number in range(count)]
        by = session.who
        await server.fanout.publish(
            MessageDelivered(room="r", message_id="m1", delivered_to=[*ids, by.user_id], by=by, at=now)
        )
        await server.fanout.publish(MessageRead(room="r", message_id="m1", read_by=[by.user_id], by=by, at=now))
    await settle(lambda: "message-read-update" in ear.names())
    updates = [payload for name, payload in ear.heard if name == "message-status-update"]
    assert [update["deliveredTo"] for update in updates] == [["g0", "g1", session.who.user_id]]
    assert ear.names().count("message-read-update") == 1


async def test_receipts_of_a_small_room_are_told_at_once_and_whole(make_server: Make) -> None:
    server = await make_server()
    ear, session = await server.enter("r", "ann")
    ids = [f"g{number}" for number in range(2000)]
    update = MessageDelivered(room="r", message_id="m1", delivered_to=ids, by=session.who, at=server.chat.clock.now())
    await server.fanout.publish(update)
    (told,) = [payload for name, payload in ear.heard if name == "message-status-update"]
    assert told["deliveredTo"] == ids


async def test_a_doubt_that_comes_while_the_room_is_read_has_it_read_again(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await make_server()
    ear, _ = await server.enter("r", "ann")
    other, session = await server.enter("r", "ben")
    whole = server.chat.store.sessions
    go = asyncio.Event()

    async def slow(room: str) -> Any:
        found = await whole(room)
        await go.wait()
        return found

    monkeypatch.setattr(server.chat.store, "sessions", slow)
    server.fanout.doubt("r")
    await settle()
    await server.chat.store.close_session(session.session_id, server.chat.clock.now())
    server.fanout.doubt("r")
    go.set()
    await settle(lambda: ear.users() == ["ann"])
    assert other.ended == "session lost"


async def test_no_member_is_left_behind_when_many_come_and_go(make_server: Make) -> None:
    server = await make_server()
    ears = await crowd(server, 60)
    for ear in ears[10:50]:
        server.routes.ended(ear)
    late = await crowd(server, 5)
    stay = [*ears[:10], *ears[50:], *late]
    await settle(lambda: all(ear.users()[-5:] == [f"u{number}" for number in range(5)] for ear in stay))
    assert len(server.fanout.channel("r").roster) == 25
