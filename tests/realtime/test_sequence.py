"""Members that read slowly get every message once and in order, and cost the room little."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.chat import conversation
from chatsys.errors import StoreUnavailable
from chatsys.realtime import sequence
from chatsys.realtime.sequence import Member

from .conftest import FakeConnection, Make, Server, settle


async def read_on(server: Server, client: FakeConnection) -> None:
    """Let a client read repeatedly until it has everything."""
    assert client.member is not None
    member: Member = client.member
    room = server.fanout.channel("r").sequence
    while not member.current:
        if client.behind:
            client.behind = False
            room.resume(member)
        await asyncio.sleep(0)


async def test_member_that_is_behind_gets_missed_messages_from_the_room(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence, "CHUNK", 1000)
    server = await make_server()
    reader, session = await server.enter("r", "ann")
    slow, _ = await server.enter("r", "ben")
    await conversation.send(server.chat, session, "before")
    slow.behind = True
    for number in range(20):
        await conversation.send(server.chat, session, f"{number}")
    assert (reader.seqs(), slow.seqs()) == (list(range(1, 22)), [1])

    async def unused(*_: object) -> None:
        raise AssertionError("the store was read")

    monkeypatch.setattr(conversation, "following", unused)
    await read_on(server, slow)
    assert slow.seqs() == list(range(1, 22))
    assert server.memory.held == 0
    await conversation.send(server.chat, session, "live")
    assert slow.seqs()[-1] == 22


async def test_member_that_is_far_behind_reads_the_store_first(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence, "KEPT_MOST", 2000)
    monkeypatch.setattr(sequence, "PAGE", 3)
    server = await make_server()
    _, session = await server.enter("r", "ann")
    slow, _ = await server.enter("r", "ben")
    slow.behind = True
    for number in range(30):
        await conversation.send(server.chat, session, f"{number}")
        assert server.memory.held <= 3000
    reading = asyncio.create_task(read_on(server, slow))
    for number in range(5):
        await asyncio.sleep(0)
        await conversation.send(server.chat, session, f"meanwhile {number}")
    await reading
    assert slow.seqs() == list(range(1, 36))


async def test_member_that_catches_up_waits_for_an_unavailable_store(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence, "KEPT_MOST", 0)
    monkeypatch.setattr(sequence, "RETRY", 0.01)
    server = await make_server()
    _, session = await server.enter("r", "ann")
    slow, _ = await server.enter("r", "ben")
    slow.behind = True
    for number in range(3):
        await conversation.send(server.chat, session, f"{number}")
    following, refusals = conversation.following, []

    async def unavailable(*arguments: object) -> object:
        if len(refusals) < 2:
            refusals.append(arguments)
            raise StoreUnavailable
        return await following(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(conversation, "following", unavailable)
    async with asyncio.timeout(30):
        await read_on(server, slow)
    assert (len(refusals), slow.seqs()) == (2, [1, 2, 3])


async def test_messages_deleted_meanwhile_are_skipped(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "KEPT_MOST", 0)
    server = await make_server()
    _, session = await server.enter("r", "ann")
    slow, _ = await server.enter("r", "ben")
    slow.behind = True
    for _ in range(20):
        await conversation.send(server.chat, session, "gone")

    async def nothing(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(conversation, "following", nothing)
    await read_on(server, slow)
    await conversation.send(server.chat, session, "here")
    assert slow.seqs() == [21]


async def test_room_that_missed_too_much_lets_each_member_read_by_itself(
    make_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequence, "GAP_MOST", 3)
    server = await make_server()
    client, session = await server.enter("r", "ann")
    for _ in range(50):
        await server.store_only(session)
    server.fanout.catch_up()
    await settle(lambda: server.fanout.channel("r").sequence._cursor == 50)
    await read_on(server, client)
    assert (client.seqs(), client.ended) == (list(range(1, 51)), "")


async def test_members_that_left_while_behind_are_forgotten(make_server: Make) -> None:
    server = await make_server()
    _, session = await server.enter("r", "ann")
    slow, leaver = await server.enter("r", "ben")
    slow.behind = True
    await conversation.send(server.chat, session, "missed")
    await conversation.leave(server.chat, leaver)
    for number in range(200):
        await conversation.send(server.chat, session, f"{number}")
    assert server.memory.held == 0
