"""Lists of users and receipts in large rooms: every member gets the current list, and the store is rarely read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatsys.chat import conversation
from chatsys.chat.fanout import MessageDelivered, MessageRead, Typing
from chatsys.realtime import channel, lists, receipts, roster
from chatsys.realtime.lists import HOLD, HOLD_MOST, hold

from .conftest import FakeConnection, Make, Server, settle


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold nothing back for longer than a moment, and cut a list of more than five users."""
    monkeypatch.setattr(lists, "HOLD", 0.0)
    monkeypatch.setattr(lists, "RATE", 1e9)
    monkeypatch.setattr(receipts, "HOLD", 0.0)
    monkeypatch.setattr(channel, "LISTED", 5)


async def join_many(server: Server, count: int, room: str = "r") -> list[FakeConnection]:
    return [(await server.enter(room, f"u{number}"))[0] for number in range(count)]


def small(server: Server, sessions: int) -> None:
    """Treat rooms with more than this many sessions as large."""
    object.__setattr__(server.chat, "limits", type(server.chat.limits)(large_room=sessions))


def test_list_delay_grows_with_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [hold(size) for size in (0, 1000, 65_536, 655_360, 10**7)] == [HOLD, HOLD, 1.0, 10.0, HOLD_MOST]


async def test_every_member_gets_the_current_list_with_itself_in_it(make_server: Make) -> None:
    server = await make_server()
    clients = await join_many(server, 8)
    await settle(lambda: all(client.users()[-1] == "u7" for client in clients))
    assert clients[7].users() == ["u3", "u4", "u5", "u6", "u7"]
    assert clients[0].users() == ["u0", "u3", "u4", "u5", "u6", "u7"]
    server.routes.ended(clients[7])
    await settle(lambda: all(client.users()[-1] == "u6" for client in clients[:7]))
    assert clients[1].users() == ["u1", "u2", "u3", "u4", "u5", "u6"]


async def test_joins_of_a_known_room_do_not_read_it(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "ALWAYS_READ", 2)
    monkeypatch.setattr(roster, "READ_AGAIN", 60.0)
    server = await make_server()
    await join_many(server, 3)
    reads = 0
    whole = server.chat.store.sessions

    async def counted(room: str) -> Any:
        nonlocal reads
        reads += 1
        return await whole(room)

    monkeypatch.setattr(server.chat.store, "sessions", counted)
    clients = await join_many(server, 20)
    await settle(lambda: all(client.users()[-1] == "u19" for client in clients))
    assert reads == 0


async def test_large_room_gets_only_messages_and_lists(make_server: Make) -> None:
    server = await make_server()
    small(server, 3)
    first, session = await server.enter("r", "first")
    clients = await join_many(server, 6)
    await server.fanout.publish(Typing(room="r", who=session.who, socket_id=session.socket_id, is_typing=True))
    await conversation.send(server.chat, session, "hello")
    server.routes.ended(clients.pop())
    await settle(lambda: first.users()[-1] == "u4")
    assert first.names().count("user-joined") == 2
    assert {"user-left", "user-typing", "user-status-update"}.isdisjoint(first.names())
    assert all(client.seqs() == [1] for client in [first, *clients])


async def test_receipts_of_one_message_are_merged_in_a_large_room(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "IDS_MOST", 3)
    server = await make_server()
    small(server, 2)
    client, session = await server.enter("r", "ann")
    await join_many(server, 3)
    now = server.chat.clock.now()
    for count in (1, 2, 5):
        ids = [f"g{number}" for number in range(count)]
        by = session.who
        await server.fanout.publish(
            MessageDelivered(room="r", message_id="m1", delivered_to=[*ids, by.user_id], by=by, at=now)
        )
        await server.fanout.publish(MessageRead(room="r", message_id="m1", read_by=[by.user_id], by=by, at=now))
    await settle(lambda: "message-read-update" in client.names())
    updates = [payload for name, payload in client.received if name == "message-status-update"]
    assert [update["deliveredTo"] for update in updates] == [["g0", "g1", session.who.user_id]]
    assert client.names().count("message-read-update") == 1


async def test_receipts_in_a_small_room_are_sent_at_once_and_completely(make_server: Make) -> None:
    server = await make_server()
    client, session = await server.enter("r", "ann")
    ids = [f"g{number}" for number in range(2000)]
    update = MessageDelivered(room="r", message_id="m1", delivered_to=ids, by=session.who, at=server.chat.clock.now())
    await server.fanout.publish(update)
    (update_sent,) = [payload for name, payload in client.received if name == "message-status-update"]
    assert update_sent["deliveredTo"] == ids


async def test_doubt_during_a_room_read_causes_another_read(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await make_server()
    client, _ = await server.enter("r", "ann")
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
    await settle(lambda: client.users() == ["ann"])
    assert other.ended == "session lost"


async def test_every_member_gets_the_current_list_when_many_come_and_go(make_server: Make) -> None:
    server = await make_server()
    clients = await join_many(server, 60)
    for client in clients[10:50]:
        server.routes.ended(client)
    late = await join_many(server, 5)
    stay = [*clients[:10], *clients[50:], *late]
    await settle(lambda: all(client.users()[-5:] == [f"u{number}" for number in range(5)] for client in stay))
    assert len(server.fanout.channel("r").roster) == 25
