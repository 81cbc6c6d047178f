"""Several servers of one chat behave as one, and what the bus loses is found again."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.chat import accounts, conversation
from chatsys.chat.fanout import ServerLost, UserLeft
from chatsys.realtime import link
from chatsys.realtime.link import LONG_TEXT

from .conftest import Make, Server, Wire, settle


async def sure(make_server: Make) -> Server:
    """A server that knows whether it is alone, and does not greet soon."""
    server = await make_server(lease=3600.0)
    server.fanout.link._unsure_until = 0.0
    return server


def hear(server: Server, letter: str) -> None:
    """Let a server hear a letter, now."""
    server.fanout.link._received(letter.encode())


async def test_what_happens_on_one_server_is_told_on_the_other(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    here, ann = await one.enter("r", "ann")
    there, ben = await two.enter("r", "ben")
    await settle()
    posted = await conversation.send(one.chat, ann, "hello")
    await conversation.delivered(two.chat, ben, posted.message.message_id)
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


async def test_a_long_message_is_read_from_the_store_by_the_other_server(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    _, ann = await one.enter("r", "ann")
    there, _ = await two.enter("r", "ben")
    await conversation.send(one.chat, ann, "x" * (LONG_TEXT + 1))
    await settle(lambda: there.seqs() == [1])
    assert max(len(str(payload)) for payload in wire.payloads) < LONG_TEXT


async def test_what_the_bus_lost_is_read_from_the_store_after_it_reports_the_gap(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    _, ann = await one.enter("r", "ann")
    there, _ = await two.enter("r", "ben")
    _, cleo = await one.enter("r", "cleo")
    await settle(lambda: there.users() == ["ann", "ben", "cleo"])
    wire.cut = True
    await conversation.send(one.chat, ann, "unheard")
    await conversation.leave(one.chat, cleo)
    await one.enter("r", "dora")
    await settle()
    assert there.seqs() == []
    wire.cut = False
    wire.report_gap()
    await settle(lambda: there.seqs() == [1] and there.users() == ["ann", "ben", "dora"])
    names = there.names()
    assert names.count("user-left") == 1
    assert names.count("user-joined") == 2  # cleo, dora


async def test_a_bus_that_refuses_is_tried_again_and_nothing_is_lost(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    _, ann = await one.enter("r", "ann")
    there, _ = await two.enter("r", "ben")
    wire.ends[0].refuses = True
    await conversation.typing(one.chat, ann, True)
    await settle(lambda: wire.ends[0].refused > 0)
    for number in range(3):
        await conversation.send(one.chat, ann, f"{number}")
        await settle()
    wire.ends[0].refuses = False
    await settle(lambda: there.seqs() == [1, 2, 3] and "user-typing" in there.names())


async def test_a_bus_that_refuses_what_opens_a_room_is_tried_again(
    make_server: Make, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await sure(make_server), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    await settle()
    monkeypatch.setattr(link, "HEARD_WITHIN", 3600.0)
    wire.ends[1].refuses = True
    entering = asyncio.create_task(two.enter("r", "ben"))
    await settle(lambda: wire.ends[1].refused > 0)
    wire.ends[1].refuses = False
    async with asyncio.timeout(30):
        there, _ = await entering
    await conversation.send(one.chat, ann, "carried")
    await settle(lambda: there.seqs() == [1])


async def test_a_greeting_that_the_bus_refuses_waits_for_the_next(make_server: Make, wire: Wire) -> None:
    one = await sure(make_server)
    await settle()
    link_of_one = one.fanout.link
    wire.ends[0].refuses = True
    link_of_one._draft.greets = True
    link_of_one._wake()
    await settle(lambda: link_of_one._sending is None)
    assert wire.ends[0].refused == 1


async def test_what_the_bus_lost_without_a_word_shows_by_the_next_letter(make_server: Make, wire: Wire) -> None:
    one, two = await sure(make_server), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    there, _ = await two.enter("r", "ben")
    wire.cut = True
    await conversation.send(one.chat, ann, "last words")
    await settle()
    wire.cut = False
    await settle()
    assert there.seqs() == []
    await conversation.typing(one.chat, ann, True)
    await settle(lambda: there.seqs() == [1])


async def test_everything_is_carried_to_a_server_of_which_a_letter_was_missed(make_server: Make, wire: Wire) -> None:
    one, two = await sure(make_server), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    await settle()
    missed = two.fanout.link._number + 1
    hear(one, f'{{"server": "{two.chat.server_id}", "number": {missed + 1}, "opened": ["q"]}}')
    await conversation.typing(one.chat, ann, True)  # before two has answered
    await settle()
    assert wire.carried("r") == ["Typing"]


async def test_a_greeting_shows_what_the_bus_lost(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(lease=0.3), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    there, _ = await two.enter("r", "ben")
    await settle()
    wire.cut = True
    await conversation.send(one.chat, ann, "last words")
    await settle()
    wire.cut = False
    await settle(lambda: there.seqs() == [1])


async def test_what_a_dead_server_stored_last_is_told_when_its_sessions_end(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    _, ann = await one.enter("r", "ann")
    there, _ = await two.enter("r", "ben")
    await settle(lambda: there.users() == ["ann", "ben"])
    await one.store_only(ann, "last words")
    for ended in await two.chat.store.retire_server(one.chat.server_id, two.chat.clock.now()):
        await two.fanout.publish(UserLeft(room="r", ended=ended))
    await two.fanout.publish(ServerLost(room="r"))
    await settle(lambda: there.seqs() == [1] and there.users() == ["ben"])


async def test_a_server_that_may_not_be_alone_says_what_happens(make_server: Make, wire: Wire) -> None:
    one = await make_server()
    await one.enter("r", "ann")
    await settle()
    assert wire.carried("r") == ["UserJoined"]


async def test_a_server_that_is_alone_says_nothing_but_its_greeting(make_server: Make, wire: Wire) -> None:
    one = await sure(make_server)
    ear, ann = await one.enter("r", "ann")
    await conversation.send(one.chat, ann, "alone")
    await settle()
    assert [payload.get("events", []) for payload in wire.payloads] == [[]]
    two = await make_server()
    there, _ = await two.enter("r", "ben")
    await conversation.send(one.chat, ann, "not alone")
    await settle(lambda: there.seqs() == [2])
    assert ear.seqs() == [1, 2]


async def test_an_event_is_carried_only_while_another_server_has_its_room(make_server: Make, wire: Wire) -> None:
    one, two = await sure(make_server), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    await conversation.send(one.chat, ann, "nobody else is here")
    await settle()
    assert wire.carried("r") == []
    there, ben = await two.enter("r", "ben")
    await conversation.send(one.chat, ann, "hello")
    await settle(lambda: there.seqs() == [2])
    assert wire.carried("r") == ["UserJoined", "MessagePosted"]
    await conversation.leave(two.chat, ben)
    await settle()
    await conversation.send(one.chat, ann, "nobody else is here again")
    await settle()
    assert wire.carried("r") == ["UserJoined", "MessagePosted", "UserLeft"]


async def test_the_first_in_a_room_reads_it_only_when_the_other_servers_know(make_server: Make, wire: Wire) -> None:
    one, two = await sure(make_server), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    await settle()
    wire.held = True
    entering = [asyncio.create_task(two.enter("r", name)) for name in ("ben", "cleo")]
    await settle()
    await conversation.send(one.chat, ann, "not carried, but stored")
    await settle()
    assert not any(task.done() for task in entering)
    wire.held = False
    (there, _), _ = await asyncio.gather(*entering)
    await conversation.send(one.chat, ann, "carried")
    await settle(lambda: there.seqs() == [2])
    assert [[message["seq"] for message in payload] for name, payload in there.heard if name == "message-history"] == [
        [1]
    ]


async def test_a_room_is_known_once_its_own_letter_is_heard_and_no_earlier_one(make_server: Make, wire: Wire) -> None:
    one, two = await sure(make_server), await sure(make_server)
    wire.held = True
    entering = asyncio.create_task(two.enter("r", "ben"))
    await settle()
    number = two.fanout.link._number
    hear(two, f'{{"server": "{one.chat.server_id}", "number": 9, "heard": {{"{two.chat.server_id}": {number - 1}}}}}')
    await settle()
    assert not entering.done()
    hear(two, f'{{"server": "{one.chat.server_id}", "number": 10, "heard": {{"{two.chat.server_id}": {number}}}}}')
    await entering
    wire.held = False


async def test_a_server_that_does_not_hear_is_waited_for_once_and_caught_up_with(
    make_server: Make, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await sure(make_server), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    _, dora = await one.enter("q", "dora")
    await settle()
    monkeypatch.setattr(link, "HEARD_WITHIN", 0.05)
    wire.cut = True
    there, _ = await two.enter("r", "ben")
    monkeypatch.setattr(link, "HEARD_WITHIN", 3600.0)
    async with asyncio.timeout(30):
        elsewhere, _ = await two.enter("q", "eve")
    await conversation.send(one.chat, ann, "not carried")
    await conversation.send(one.chat, dora, "nor this")
    await settle()
    wire.cut = False
    assert there.seqs() == elsewhere.seqs() == []
    await two.enter("p", "fay")
    await settle(lambda: there.seqs() == elsewhere.seqs() == [1])
    await conversation.send(one.chat, dora, "carried")
    await settle(lambda: elsewhere.seqs() == [1, 2])


async def test_a_server_that_leaves_is_not_waited_for(make_server: Make, wire: Wire) -> None:
    one, two = await sure(make_server), await sure(make_server)
    wire.held = True
    entering = asyncio.create_task(two.enter("r", "ben"))
    await settle()
    assert not entering.done()
    hear(two, f'{{"server": "{one.chat.server_id}", "number": 9, "leaving": true}}')
    async with asyncio.timeout(30):
        await entering
    wire.held = False


async def test_a_server_is_late_for_no_room_that_is_known_or_gone(
    make_server: Make, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HEARD_WITHIN", 3600.0)
    _, two = await sure(make_server), await sure(make_server)
    wire.held = True
    staying, going = [asyncio.create_task(two.enter(room, "ben")) for room in ("known", "gone")]
    await settle()
    timers = [opening.timer for opening in two.fanout.link._openings.values()]
    assert [timer.cancelled() for timer in timers] == [False, False]
    going.cancel()
    await asyncio.wait([going])
    assert [timer.cancelled() for timer in timers] == [False, True]
    wire.held = False
    await staying
    assert [timer.cancelled() for timer in timers] == [True, True]


async def test_rooms_that_were_announced_while_the_bus_was_cut_are_asked_for(make_server: Make, wire: Wire) -> None:
    one, two = await sure(make_server), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    await settle()
    wire.cut = True
    there, _ = await two.enter("r", "ben")
    await conversation.send(one.chat, ann, "not carried")
    await settle()
    assert wire.carried("r") == ["UserJoined"]
    wire.cut = False
    wire.ends[0].report_gap()
    await settle(lambda: there.seqs() == [1])
    await conversation.send(one.chat, ann, "carried")
    await settle(lambda: there.seqs() == [1, 2])
    assert wire.carried("r") == ["UserJoined", "MessagePosted"]


async def test_one_that_asks_tells_its_own_rooms_in_case_it_was_asked_too(
    make_server: Make, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await sure(make_server), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    await settle()
    monkeypatch.setattr(link, "HEARD_WITHIN", 0.05)
    wire.ends[0].deaf = True
    there, _ = await two.enter("r", "ben")
    wire.ends[0].deaf, wire.ends[1].deaf = False, True
    await two.enter("p", "cleo")  # shows one that it has missed something; what it asks is lost
    await settle()
    wire.ends[1].deaf = False
    await conversation.send(one.chat, ann, "not carried")
    await one.enter("q", "dora")  # shows two that it has missed something
    await settle(lambda: there.seqs() == [1])
    await conversation.send(one.chat, ann, "carried")
    await settle(lambda: there.seqs() == [1, 2])


async def test_a_newcomer_that_was_not_heard_catches_up_when_it_is(make_server: Make, wire: Wire) -> None:
    one = await sure(make_server)
    _, ann = await one.enter("r", "ann")
    wire.ends[0].deaf = True
    two = await make_server(lease=0.3)
    there, _ = await two.enter("r", "ben")
    await conversation.send(one.chat, ann, "not carried")
    await settle()
    assert there.seqs() == []
    wire.ends[0].refuses = True  # what one says to the newcomer is repeated as well
    wire.ends[0].deaf = False
    await settle(lambda: wire.ends[0].refused > 0)
    wire.ends[0].refuses = False
    await settle(lambda: there.seqs() == [1])


async def test_the_rooms_of_a_server_that_was_forgotten_are_asked_for(make_server: Make, wire: Wire) -> None:
    one, two = await sure(make_server), await sure(make_server)
    _, ann = await one.enter("r", "ann")
    one.fanout.link._forget(two.chat.server_id)
    await two.enter("q", "ben")
    await settle()
    await conversation.send(one.chat, ann, "nobody else is here")
    await settle()
    assert wire.carried("r") == []


async def test_a_room_that_comes_and_goes_while_the_bus_refuses_ends_as_it_is(
    make_server: Make, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await sure(make_server), await sure(make_server)
    here, ann = await one.enter("r", "ann")
    await settle()
    monkeypatch.setattr(link, "HEARD_WITHIN", 0.05)
    wire.held = wire.ends[1].refuses = True
    _, ben = await two.enter("r", "ben")
    await conversation.leave(two.chat, ben)  # while what says that two has the room is on its way
    wire.held = False
    await settle()
    wire.ends[1].refuses = False
    await settle(lambda: here.names().count("user-left") == 1)
    await conversation.send(one.chat, ann, "nobody else is here")
    await settle()
    assert "MessagePosted" not in wire.carried("r")


async def test_a_payload_of_a_stranger_is_dropped(make_server: Make, wire: Wire) -> None:
    one = await make_server()
    for payload in (b"", b"{}", b"\xff", b'{"server":"x","events":[{"type":"Nothing","room":"r"}]}'):
        for on_payload, _ in wire.ends[0].subscribers:
            on_payload(payload)
    ear, ann = await one.enter("r", "ann")
    await conversation.send(one.chat, ann, "still here")
    assert ear.seqs() == [1]


async def test_a_server_taken_for_dead_sends_its_clients_away_to_come_back(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    here, _ = await one.enter("r", "ann")
    for ended in await two.chat.store.retire_server(one.chat.server_id, two.chat.clock.now()):
        await two.fanout.publish(UserLeft(room="r", ended=ended))
    await settle(lambda: here.ended != "")
    assert here.ended == "session lost"
    assert one.fanout.hubs == {}


async def test_a_deleted_account_keeps_its_socket_on_another_server(make_server: Make, wire: Wire) -> None:
    one, two = await make_server(), await make_server()
    fields = {"username": "doomed", "email": "d@example.org", "password": "secret"}
    account, token = await accounts.register(one.chat, fields)
    ear, _ = await one.enter("r", token=token)
    await accounts.delete_account(two.chat, token, account.user_id)
    await settle(lambda: one.fanout.hubs == {})
    await settle()
    assert ear.ended == ""


async def test_one_who_is_behind_gets_only_the_list_that_is_current_then(make_server: Make) -> None:
    server = await make_server()
    ear, _ = await server.enter("r", "ann")
    ear.behind = True
    before = ear.names().count("room-users")
    for number in range(3):
        other, _ = await server.enter("r", f"ben{number}")
        await settle(lambda other=other, name=f"ben{number}": other.users()[-1] == name)
    assert ear.names().count("room-users") == before
    ear.behind = False
    await settle(lambda: ear.users() == ["ann", "ben0", "ben1", "ben2"])
    assert ear.names().count("room-users") == before + 1
