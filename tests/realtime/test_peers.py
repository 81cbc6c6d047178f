"""Several servers of one chat behave as one, and messages that the bus lost are found again."""

from __future__ import annotations

import asyncio

from chatsys.chat import accounts, conversation
from chatsys.chat.fanout import ServerLost, SessionClosed
from chatsys.realtime.peers import LONG_TEXT

from .conftest import Make, Wire, settle


async def test_events_of_one_server_reach_the_other(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    here, ann = await one.enter("r", "ann")
    there, ben = await two.enter("r", "ben")
    await settle()
    posted = await conversation.send(one.chat, ann, "hello")
    await conversation.delivered(two.chat, ben, ben.room, posted.message.message_id)
    await conversation.typing(two.chat, ben, True)
    await conversation.leave(two.chat, ben)
    await settle(lambda: "user-left" in here.names() and here.users() == ["ann"])
    events = [name for name in here.names() if name != "room-users"]
    assert events == [
        "message-history",
        "user-joined",
        "receive-message",
        "message-status-update",
        "user-typing",
        "user-left",
        "user-status-update",
    ]
    assert there.users() == ["ann", "ben"]


async def test_messages_of_two_servers_are_seen_in_one_order_by_all(make_server: Make) -> None:
    one, two = await make_server(), await make_server()
    here, ann = await one.enter("r", "ann")
    there, ben = await two.enter("r", "ben")
    for number in range(50):
        await conversation.send(one.chat if number % 3 else two.chat, ann if number % 3 else ben, f"{number}")
    await settle(lambda: len(here.seqs()) == len(there.seqs()) == 50)
    assert here.seqs() == there.seqs() == list(range(1, 51))


async def test_other_server_reads_a_long_message_from_the_store(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    _, ann = await one.enter("r", "ann")
    there, _ = await two.enter("r", "ben")
    await conversation.send(one.chat, ann, "x" * (LONG_TEXT + 1))
    await settle(lambda: there.seqs() == [1])
    assert max(len(str(event)) for event in wire.carried) < LONG_TEXT


async def test_events_lost_by_the_bus_are_read_after_it_reports_the_gap(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    _, ann = await one.enter("r", "ann")
    there, _ = await two.enter("r", "ben")
    _, cleo = await one.enter("r", "cleo")
    await settle(lambda: there.users() == ["ann", "ben", "cleo"])
    wire.cut = True
    await conversation.send(one.chat, ann, "not received")
    await conversation.leave(one.chat, cleo)
    await one.enter("r", "dora")
    await settle()
    assert there.seqs() == []
    wire.cut = False
    wire.report_gap()
    await settle(lambda: there.seqs() == [1] and there.users() == ["ann", "ben", "dora"])
    names = there.names()
    assert names.count("user-left") == 1
    assert names.count("user-joined") == 2  # for cleo and dora


async def test_last_messages_of_a_dead_server_are_sent_when_its_sessions_end(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    _, ann = await one.enter("r", "ann")
    there, _ = await two.enter("r", "ben")
    await settle(lambda: there.users() == ["ann", "ben"])
    await one.store_only(ann, "last words")
    for ended in await two.chat.store.retire_server(one.chat.server_id, two.chat.clock.now()):
        await two.fanout.publish(SessionClosed(room="r", ended=ended))
    await two.fanout.publish(ServerLost(room="r"))
    await settle(lambda: there.seqs() == [1] and there.users() == ["ben"])


async def test_peers_get_no_events_of_rooms_that_they_do_not_have(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    _, ann = await one.enter("r", "ann")
    await conversation.send(one.chat, ann, "nobody else is here")
    await settle()
    assert wire.carried == []
    there, ben = await two.enter("r", "ben")
    await conversation.send(one.chat, ann, "hello")
    await settle(lambda: there.seqs() == [2])
    await conversation.leave(two.chat, ben)
    await conversation.send(one.chat, ann, "nobody else is here again")
    await settle()
    assert wire.kinds("r") == ["UserJoined", "MessagePosted", "UserLeft"]


async def test_peers_are_found_from_the_answers_of_the_store(make_server: Make, wire: Wire) -> None:
    one = await make_server()
    _, ann = await one.enter("r", "ann")
    _, ben = await one.enter("r", "ben")
    await conversation.send(one.chat, ann, "hello")
    await conversation.typing(one.chat, ann, True)
    await conversation.read_all(one.chat, ben, ben.room)
    assert wire.ends[0].calls == [("r", ()), ("r", ()), ("r", ()), ("r", None), ("r", ())]


async def test_room_is_read_only_after_the_bus_carries_its_events(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    _, ann = await one.enter("r", "ann")
    known = wire.ends[1].known = asyncio.Event()
    entering = [asyncio.create_task(two.enter("r", name)) for name in ("ben", "cleo")]
    await settle()
    await conversation.send(one.chat, ann, "before")
    assert not any(task.done() for task in entering)
    known.set()
    (there, _), _ = await asyncio.gather(*entering)
    await conversation.send(one.chat, ann, "after")
    await settle(lambda: there.seqs() == [2])
    assert [
        [message["seq"] for message in payload] for name, payload in there.received if name == "message-history"
    ] == [[1]]


async def test_room_is_read_when_an_event_of_a_peer_is_unreadable(make_server: Make, wire: Wire) -> None:
    one = await make_server()
    client, ann = await one.enter("r", "ann")
    await one.store_only(ann, "missed")
    for event in (b"", b"{}", b"\xff", b'{"type":"Nothing","room":"r"}'):
        one.fanout.peers.received("r", event)
    await settle(lambda: client.seqs() == [1])


async def test_only_the_room_with_missed_events_is_read(make_server: Make, wire: Wire) -> None:
    one = await make_server()
    client, ann = await one.enter("r", "ann")
    elsewhere, ben = await one.enter("q", "ben")
    await one.store_only(ann, "missed")
    await one.store_only(ben, "not announced yet")
    one.fanout.peers.missed("r")
    one.fanout.peers.missed("nobody is there")
    await settle(lambda: client.seqs() == [1])
    assert elsewhere.seqs() == []


async def test_server_taken_for_dead_makes_its_clients_reconnect(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    here, _ = await one.enter("r", "ann")
    for ended in await two.chat.store.retire_server(one.chat.server_id, two.chat.clock.now()):
        await two.fanout.publish(SessionClosed(room="r", ended=ended))
    await settle(lambda: here.ended != "")
    assert here.ended == "session lost"
    assert one.fanout.channels == {}


async def test_deleted_account_keeps_its_socket_on_another_server(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    fields = {"username": "doomed", "email": "d@example.org", "password": "secret"}
    account, token = await accounts.register(one.chat, fields)
    client, _ = await one.enter("r", token=token)
    await accounts.delete_account(two.chat, token, account.user_id)
    await settle(lambda: one.fanout.channels == {})
    await settle()
    assert client.ended == ""


async def test_member_that_is_behind_gets_only_the_current_list(make_server: Make) -> None:
    server = await make_server()
    client, _ = await server.enter("r", "ann")
    client.behind = True
    before = client.names().count("room-users")
    for number in range(3):
        other, _ = await server.enter("r", f"ben{number}")
        await settle(lambda other=other, name=f"ben{number}": other.users()[-1] == name)
    assert client.names().count("room-users") == before
    client.behind = False
    await settle(lambda: client.users() == ["ann", "ben0", "ben1", "ben2"])
    assert client.names().count("room-users") == before + 1
