"""Missed messages are replayed; between history and live messages nothing is missing or repeated (§14.4)."""

from __future__ import annotations

import asyncio

import pytest

from .clients import Client
from .conftest import Connect, Server


async def test_replay_begins_right_after_the_requested_sequence_number(connect: Connect, room: str) -> None:
    sender = await connect(room=room)
    for number in range(1, 8):
        await sender.send(f"{number}")
    client = await connect()
    answer = await client.join(room, since=3)
    assert (answer["lastSeq"], answer["replayed"], answer["complete"]) == (7, 4, True)
    assert [message["seq"] for message in client.all("message-history")[0]] == [4, 5, 6, 7]
    nothing = await client.join(room, since=7)
    assert (nothing["lastSeq"], nothing["replayed"], nothing["complete"]) == (7, 0, True)
    assert client.all("message-history")[1] == []


@pytest.mark.parametrize("since", [8, 99, 2**63, 10**30])
async def test_replay_beyond_the_newest_number_gives_the_newest_and_says_so(
    connect: Connect, room: str, since: int
) -> None:
    sender = await connect(room=room)
    for number in range(1, 8):
        await sender.send(f"{number}")
    client = await connect()
    answer = await client.join(room, since=since)
    assert (answer["lastSeq"], answer["replayed"], answer["complete"]) == (7, 7, False)
    assert [message["seq"] for message in client.all("message-history")[0]] == list(range(1, 8))


async def test_replay_of_another_epoch_gives_the_newest_and_says_so(connect: Connect, room: str) -> None:
    sender = await connect(room=room)
    for number in range(1, 8):
        await sender.send(f"{number}")
    client = await connect()
    epoch = (await client.join(room))["epoch"]
    answer = await client.join(room, since=3, epoch=epoch)
    assert (answer["epoch"], answer["replayed"], answer["complete"]) == (epoch, 4, True)
    answer = await client.join(room, since=3, epoch="another life")
    assert (answer["epoch"], answer["replayed"], answer["complete"]) == (epoch, 7, False)
    answer = await client.join(room, since=3, epoch=7)
    assert (answer["replayed"], answer["complete"]) == (7, False)


async def test_join_with_a_refused_token_says_why(connect: Connect, room: str) -> None:
    client = await connect()
    answer = await client.join(room, token="garbage", username="Gus")
    assert (answer["success"], answer["guest"], answer["reason"]) == (True, True, "invalid")
    assert not {"guest", "reason"} & (await client.join(room)).keys()


async def test_history_is_limited_in_bytes_and_shared_by_simultaneous_joins(connect: Connect, room: str) -> None:
    sender = await connect(room=room)
    for letter in "abcdef":
        await sender.send(letter * 600_000)
    client = await connect()
    answer = await client.join(room)
    assert (answer["replayed"], answer["complete"], answer["lastSeq"]) == (3, False, 6)
    (history,) = client.all("message-history")
    assert [message["message"][0] for message in history] == ["d", "e", "f"]
    answer = await client.join(room, since=1)
    assert (answer["replayed"], answer["complete"]) == (3, False)
    answer = await client.join(room, since=4)
    assert (answer["replayed"], answer["complete"]) == (2, True)


async def test_replay_of_too_many_messages_gives_the_newest_thousand(connect: Connect, room: str) -> None:
    sender = await connect(room=room)
    await asyncio.gather(*[sender.emit("send-message", {"message": "x"}) for _ in range(1003)])
    await sender.want("receive-message", 1003)
    client = await connect()
    answer = await client.join(room, since=2)
    assert (answer["replayed"], answer["complete"], answer["lastSeq"]) == (1000, False, 1003)
    assert [message["seq"] for message in client.all("message-history")[0]] == list(range(4, 1004))
    exactly = await client.join(room, since=3)
    assert (exactly["replayed"], exactly["complete"]) == (1000, True)


async def test_history_holds_the_newest_hundred_messages(connect: Connect, room: str) -> None:
    sender = await connect(room=room)
    for number in range(105):
        await sender.emit("send-message", {"message": f"{number}"})
    await sender.want("receive-message", 105)
    client = await connect()
    answer = await client.join(room)
    assert (answer["replayed"], answer["lastSeq"], answer["complete"]) == (100, 105, True)
    assert [message["seq"] for message in client.all("message-history")[0]] == list(range(6, 106))


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="+".join)
async def test_clients_that_reconnect_under_traffic_get_each_message_once(
    server: Server, connect: Connect, room: str, transports: list[str]
) -> None:
    senders = [await connect(room=room) for _ in range(3)]
    enough = asyncio.Event()
    sent = 0

    async def talk(sender: Client) -> None:
        nonlocal sent
        while not enough.is_set():
            for _ in range(7):
                await sender.emit("send-message", {"message": "x"})
                sent += 1
            await asyncio.sleep(0.1)

    async def visit(seen: list[int], event: str) -> None:
        async with Client(server.url, transports) as client:
            await client.join(room, since=len(seen))
            await client.want(event)
            await client.settle()
            for name, payload in client.diary:
                if name == "message-history":
                    seen += [message["seq"] for message in payload]
                elif name == "receive-message":
                    seen.append(payload["seq"])

    async def come_and_go() -> list[int]:
        seen: list[int] = []
        for _ in range(4):
            await visit(seen, "receive-message")
        return seen

    talking = asyncio.gather(*[talk(sender) for sender in senders])
    visitors = await asyncio.gather(*[come_and_go() for _ in range(3)])
    enough.set()
    await talking
    await senders[0].want("receive-message", sent)
    for seen in visitors:
        while len(seen) < sent:
            await visit(seen, "message-history")
        assert seen == list(range(1, sent + 1))
