"""A room's messages are delivered once and in sequence, in whatever order they become known."""

from __future__ import annotations

import msgspec

from chatsys.chat import accounts, conversation
from chatsys.chat.fanout import MessagePosted
from chatsys.realtime.sequence import Member

from .conftest import FakeConnection, Make, Wire, settle


async def test_messages_published_out_of_order_are_delivered_in_sequence(make_server: Make) -> None:
    server = await make_server()
    client, session = await server.enter("r", "ann")
    stored = [await server.store_only(session) for _ in range(5)]
    for index in (3, 0, 2, 1, 1, 4, 0):
        await server.fanout.publish(MessagePosted(room="r", message=stored[index]))
    assert client.seqs() == [1, 2, 3, 4, 5]


async def test_unpublished_message_is_read_when_a_later_one_arrives(make_server: Make) -> None:
    server = await make_server()
    client, session = await server.enter("r", "ann")
    await server.store_only(session)
    await server.store_only(session)
    await conversation.send(server.chat, session, "third")
    assert client.seqs() == []
    await settle(lambda: client.seqs() == [1, 2, 3])
    await conversation.send(server.chat, session, "fourth")
    assert client.seqs() == [1, 2, 3, 4]


async def test_gap_left_by_a_deletion_is_skipped(make_server: Make) -> None:
    server = await make_server()
    client, session = await server.enter("r", "ann")
    fields = {"username": "doomed", "email": "d@example.org", "password": "secret"}
    doomed, _ = await accounts.register(server.chat, fields)
    await server.store_only(msgspec.structs.replace(session, who=conversation.participant(doomed)))
    await server.chat.store.delete_user(doomed.user_id, server.chat.clock.now())
    await conversation.send(server.chat, session, "after it")
    await settle(lambda: client.seqs() == [2])
    await conversation.send(server.chat, session, "at once")
    assert client.seqs() == [2, 3]


async def test_history_and_live_messages_join_without_a_gap_or_a_repetition(make_server: Make) -> None:
    server = await make_server()
    client, session = await server.enter("r", "ann")
    channel = server.fanout.channel("r")
    late = FakeConnection()
    joined = await conversation.join(server.chat, "r", session.who, "late")
    member = Member(late, joined.session)  # type: ignore[arg-type]
    channel.add(member)
    first = await server.store_only(session)
    second = await server.store_only(session)
    await server.fanout.publish(MessagePosted(room="r", message=first))
    history = [message.seq for message in await server.chat.store.history("r", 100)]
    channel.release(member, history[-1])
    await server.fanout.publish(MessagePosted(room="r", message=second))
    await conversation.send(server.chat, session, "third")
    assert history == [1, 2]
    assert late.seqs() == [3]
    assert client.seqs() == [1, 2, 3]


async def test_receipts_of_a_message_read_late_are_not_in_its_live_event(make_server: Make) -> None:
    server = await make_server()
    client, session = await server.enter("r", "ann")
    _, reader = await server.enter("r", "ben")
    message = await server.store_only(session)
    await server.chat.store.mark_read("r", message.message_id, reader.who, server.chat.clock.now())
    server.fanout.catch_up()
    await settle(lambda: client.seqs() == [1])
    (payload,) = [payload for name, payload in client.received if name == "receive-message"]
    assert (payload["delivered"], payload["deliveredTo"], payload["read"], payload["readBy"]) == (False, [], False, [])


async def test_channel_ends_with_its_last_member(make_server: Make) -> None:
    server = await make_server()
    _, session = await server.enter("r", "ann")
    assert set(server.fanout.channels) == {"r"}
    await conversation.leave(server.chat, session)
    assert server.fanout.channels == {}


async def test_member_that_joined_during_a_change_gets_the_current_list(make_server: Make) -> None:
    server = await make_server()
    client, session = FakeConnection(), (await server.enter("r", "ann"))[1]
    channel = server.fanout.channel("r")
    joined = await conversation.join(server.chat, "r", session.who, "late")
    member = Member(client, joined.session)  # type: ignore[arg-type]
    channel.add(member)
    await channel.lists.send(member)
    other, _ = await server.enter("r", "ben")
    await settle(lambda: channel.lists._sending is None)
    channel.release(member, 0)
    await settle(lambda: client.users() == other.users())


async def test_message_stored_by_a_failed_write_is_delivered_at_once(make_server: Make) -> None:
    server = await make_server()
    client, session = await server.enter("r", "ann")
    await server.store_only(session)
    server.fanout.doubt("r")
    await settle(lambda: client.seqs() == [1])


async def test_joins_and_leaves_during_a_room_read_are_announced_once(make_server: Make) -> None:
    server = await make_server()
    client, _ = await server.enter("r", "ann")
    channel = server.fanout.channel("r")
    leaver = (await server.enter("r", "ben"))[1]
    channel.catch_up()
    comer, _ = await server.enter("r", "cleo")
    await conversation.leave(server.chat, leaver)
    await settle(lambda: channel._reading is None and client.users() == ["ann", "cleo"])
    assert client.names().count("user-joined") == 2
    assert client.names().count("user-left") == 1
    assert comer.ended == ""


async def test_first_member_sees_members_that_this_server_did_not_know(make_server: Make, wire: Wire) -> None:
    here, there = await make_server(), await make_server()
    channel = here.fanout.channel("r")
    channel.joining += 1
    channel.catch_up()
    await settle(lambda: channel._reading is None)
    wire.cut = True  # a server without members in a room gets no events of it
    await there.enter("r", "ben")
    await settle()
    wire.cut = False
    client, _ = await here.enter("r", "ann")
    assert client.users() == ["ben", "ann"]
