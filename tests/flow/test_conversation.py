"""A conversation as clients of the official library see it: polling, WebSocket and the upgrade between (§8, §9)."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from .clients import Client, fresh, http_client
from .conftest import Connect, Server

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}


@pytest.fixture(params=TRANSPORTS)
def transports(request: pytest.FixtureRequest) -> list[str]:
    return TRANSPORTS[request.param]


async def test_join_announces_the_member_then_sends_lists_and_history(
    connect: Connect, room: str, transports: list[str]
) -> None:
    first = await connect(transports, room=room, name="Ann")
    assert first.names() == ["room-users", "message-history"]
    await first.send("before")
    second = await connect(transports, room=room, name="Ben", userId="guest-ben000001")
    joined = await first.want("user-joined")
    assert joined["message"] == "Ben has joined the chat"
    assert (joined["userId"], joined["username"], joined["displayName"]) == ("guest-ben000001", "Ben", "Ben")
    assert TIMESTAMP.fullmatch(joined["timestamp"])
    users = await first.want("room-users", 2)
    assert [user["username"] for user in users] == ["Ann", "Ben"]
    assert first.names().index("user-joined") < len(first.names()) - 1
    assert second.names() == ["room-users", "message-history"]
    assert [user["username"] for user in second.all("room-users")[0]] == ["Ann", "Ben"]
    assert [message["message"] for message in second.all("message-history")[0]] == ["before"]


async def test_message_reaches_everybody_in_the_room_once_and_nobody_else(
    connect: Connect, room: str, transports: list[str]
) -> None:
    here = [await connect(transports, room=room) for _ in range(3)]
    elsewhere = await connect(transports, room=room + "-other")
    answer = await here[0].send("  exactly <b>this</b> \n 🎈 ")
    for client in here:
        message = await client.want("receive-message")
        assert message["message"] == "  exactly <b>this</b> \n 🎈 "
        assert (message["id"], message["seq"], message["timestamp"]) == (answer["id"], 1, answer["timestamp"])
        assert (message["delivered"], message["deliveredTo"], message["read"], message["readBy"]) == (
            False,
            [],
            False,
            [],
        )
    for client in [*here, elsewhere]:
        await client.settle()
    assert [len(client.all("receive-message")) for client in here] == [1, 1, 1]
    assert elsewhere.all("receive-message") == []


async def test_burst_is_stored_and_broadcast_in_the_order_sent(
    server: Server, connect: Connect, room: str, transports: list[str]
) -> None:
    sender, listener = await connect(transports), await connect(transports, room=room)
    await sender.emit("join", {"room": room, "username": "Ann"})
    texts = [f"message {number}" for number in range(60)]
    for text in texts:
        await sender.emit("send-message", {"message": text})
    await listener.want("receive-message", len(texts))
    assert listener.texts() == texts
    async with http_client(server.url) as http:
        page = (await http.get(f"/api/rooms/{room}/messages")).json()["data"]
    assert [message["message"] for message in page] == texts
    assert [message["seq"] for message in page] == list(range(1, 61))


async def test_typing_is_sent_to_the_others_as_a_boolean(connect: Connect, room: str) -> None:
    typist, other = await connect(room=room, name="Ann"), await connect(room=room)
    for payload in (True, False, 1, "", None, {"x": 1}):
        await typist.emit("typing", payload)
    await other.want("user-typing", 5)
    seen = other.all("user-typing")
    assert [known["isTyping"] for known in seen] == [True, False, True, False, True]  # a repetition comes once a second
    assert set(seen[0]) == {"username", "displayName", "userId", "isTyping"}
    await typist.settle()
    assert typist.all("user-typing") == []


async def test_receipts_are_sets_sent_to_all_without_the_sender(connect: Connect, room: str) -> None:
    sender = await connect(room=room, name="Ann", userId="guest-ann")
    reader = await connect(room=room, name="Ben", userId="guest-ben")
    sent = await sender.send("hello")
    receipt = {"messageId": sent["id"], "room": room}
    assert not (await sender.call("message-delivered", receipt))["success"]
    assert (await reader.call("message-delivered", receipt))["success"]
    for client in (sender, reader):
        update = await client.want("message-status-update")
        assert update | {"timestamp": ""} == {
            "messageId": sent["id"],
            "delivered": True,
            "deliveredTo": ["guest-ben"],
            "deliveredBy": "guest-ben",
            "timestamp": "",
        }
    assert (await reader.call("message-read", receipt))["success"]
    update = await sender.want("message-read-update")
    assert (update["readBy"], update["readByUser"], update["readByUsername"]) == (["guest-ben"], "guest-ben", "Ben")
    late = await connect(room=room)
    (message,) = late.all("message-history")[0]
    assert (message["delivered"], message["deliveredTo"]) == (True, ["guest-ben"])
    assert (message["read"], message["readBy"]) == (True, ["guest-ben"])


async def test_receipts_for_another_room_or_an_unknown_message_are_ignored(connect: Connect, room: str) -> None:
    elsewhere = await connect(room=room + "-other")
    foreign = await elsewhere.send("not here")
    sender, reader = await connect(room=room), await connect(room=room)
    sent = await sender.send("here")
    junk: list[Any] = [
        {"messageId": foreign["id"], "room": room},
        {"messageId": foreign["id"], "room": room + "-other"},
        {"messageId": sent["id"], "room": room + "-other"},
        {"messageId": "00000000-0000-7000-8000-000000000000", "room": room},
        {"messageId": "x", "room": room},
        {"messageId": sent["id"]},
        None,
    ]
    for payload in junk:
        for name in ("message-delivered", "message-read"):
            answer = await reader.call(name, payload)
            assert (answer["success"], answer["code"]) == (False, "not_found")
    await sender.settle()
    assert not {"message-status-update", "message-read-update"} & set(sender.names() + reader.names())


async def test_mark_all_read_announces_exactly_the_newly_read(connect: Connect, room: str) -> None:
    sender = await connect(room=room, userId="guest-ann")
    reader = await connect(room=room, name="Ben", userId="guest-ben")
    sent = [(await sender.send(f"{number}"))["id"] for number in range(4)]
    await reader.send("my own")
    await reader.call("message-read", {"messageId": sent[1], "room": room})
    await reader.emit("mark-all-read", {"room": room})
    marked = await sender.want("messages-marked-read")
    assert marked["messageIds"] == [sent[0], sent[2], sent[3]]
    assert (marked["readBy"], marked["readByUsername"]) == ("guest-ben", "Ben")
    await reader.call("mark-all-read", {"room": room})
    await reader.call("mark-all-read", {"room": "another"})
    await sender.settle()
    assert len(sender.all("messages-marked-read")) == 1


async def test_leave_is_announced_in_order_and_removed_from_the_list(connect: Connect, room: str) -> None:
    stays, leaves = await connect(room=room, name="Ann"), await connect(room=room, name="Ben")
    await stays.want("room-users", 2)
    start = len(stays.diary)
    assert (await leaves.call("leave-room"))["success"]
    await stays.want("room-users", 3)
    assert stays.names()[start:] == ["user-left", "user-status-update", "room-users"]
    left, status, users = (payload for _, payload in stays.diary[start:])
    assert left["message"] == "Ben has left the chat"
    assert status["online"] is False
    assert [user["username"] for user in users] == ["Ann"]
    before = len(leaves.diary)
    await stays.send("you are gone")
    assert (await leaves.call("leave-room"))["code"] == "no_session"
    assert len(leaves.diary) == before
    await leaves.join(room)
    assert leaves.texts() == []


@pytest.mark.parametrize("way", ["close", "vanish"])
async def test_disconnect_counts_as_a_leave(connect: Connect, server: Server, room: str, way: str) -> None:
    stays = await connect(room=room, name="Ann")
    async with Client(server.url, ["websocket"]) as leaves:
        await leaves.join(room, name="Ben")
        await stays.want("user-joined")
        if way == "vanish":
            leaves.sio.eio.ws._response.connection.transport.abort()
    await stays.want("user-left")
    users = await stays.want("room-users", 3)
    assert [user["username"] for user in users] == ["Ann"]


async def test_user_goes_offline_only_with_the_last_session(
    connect: Connect, account: Any, server: Server, room: str
) -> None:
    registered = await account()
    watcher = await connect(room=room)
    first = await connect(room=room, token=registered["token"])
    second = await connect(room=room, token=registered["token"])

    async def status() -> str:
        async with http_client(server.url) as http:
            return str((await http.get(f"/api/users/{registered['user']['userId']}")).json()["user"]["status"])

    assert await status() == "online"
    await first.sio.disconnect()
    await watcher.want("user-left")
    assert await status() == "online"
    await watcher.settle()
    assert watcher.all("user-status-update") == []
    await second.sio.disconnect()
    update = await watcher.want("user-status-update")
    assert (update["online"], update["userId"]) == (False, registered["user"]["userId"])
    assert await status() == "offline"


async def test_status_is_sent_to_everybody_in_the_room(connect: Connect, account: Any, room: str) -> None:
    registered = await account()
    user = await connect(room=room, token=registered["token"])
    guest = await connect(room=room, name="Ben", userId="guest-ben")
    await user.emit("update-online-status", {"online": False})
    for client in (user, guest):
        assert (await client.want("user-status-update"))["online"] is False
    assert (await guest.call("update-online-status", {"online": "yes"}))["code"] == "validation_failed"
    await guest.emit("update-online-status", {"online": True})
    update = await user.want("user-status-update", 2)
    assert (update["userId"], update["online"]) == ("guest-ben", True)


async def test_joining_another_room_leaves_the_first(connect: Connect, room: str) -> None:
    stays, moves = await connect(room=room), await connect(room=room, name="Ben")
    await moves.join(room + "-other", name="Ben")
    await stays.want("user-left")
    await stays.send("still here?")
    await moves.settle()
    assert moves.texts() == []


async def test_joining_the_same_room_again_keeps_one_session(connect: Connect, room: str) -> None:
    client, other = await connect(room=room, name="Ann"), await connect(room=room)
    first = client.all("room-users")[0]
    await other.send("hello")
    again = await client.join(room, name="Ann")
    assert again["sessionId"] == first[0]["sessionId"]
    assert len(client.all("message-history")) == 2
    users = client.all("room-users")[-1]
    assert len(users) == 2
    await other.settle()
    assert "user-joined" not in other.names()


async def test_token_decides_the_identity_whatever_else_the_payload_says(
    connect: Connect, account: Any, room: str
) -> None:
    registered = await account()
    client = await connect(room=room, token=registered["token"], username="somebody else", userId="guest-x")
    (element,) = client.all("room-users")[0]
    assert element["userId"] == registered["user"]["userId"]
    assert element["username"] == registered["user"]["username"]


async def test_bad_token_makes_a_guest_whose_id_never_looks_like_a_user_id(
    connect: Connect, account: Any, room: str
) -> None:
    registered = await account()
    client = await connect()
    answer = await client.join(room, token="a.b.c", username="Ann", userId=registered["user"]["userId"])
    assert answer["userId"] == client.socket_id
    (element,) = client.all("room-users")[0]
    assert (element["userId"], element["socketId"]) == (client.socket_id, client.socket_id)
    assert element["status"]["online"] is True


async def test_account_deletion_ends_its_live_sessions(
    connect: Connect, account: Any, server: Server, room: str
) -> None:
    registered = await account()
    watcher = await connect(room=room, name="Ann")
    doomed = await connect(room=room, token=registered["token"])
    await doomed.send("mine")
    async with http_client(server.url) as http:
        path = f"/api/users/{registered['user']['userId']}"
        answer = await http.delete(path, headers={"Authorization": f"Bearer {registered['token']}"})
        assert answer.status_code == 200
    await watcher.want("user-left")
    assert (await doomed.call("send-message", {"message": "ghost"}))["code"] == "no_session"
    await watcher.send("still alive")
    await watcher.want("receive-message", 2)
    assert watcher.texts() == ["mine", "still alive"]
    late = await connect(room=room)
    assert [message["message"] for message in late.all("message-history")[0]] == ["still alive"]
    assert doomed.texts() == ["mine"]


async def test_repeated_message_is_acknowledged_and_not_sent_again(connect: Connect, room: str) -> None:
    sender, other = await connect(room=room, userId="guest-a"), await connect(room=room)
    first = await sender.send("once", clientMessageId="c-1")
    again = await sender.send("once, differently", clientMessageId="c-1")
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert (again["id"], again["seq"], again["timestamp"]) == (first["id"], first["seq"], first["timestamp"])
    await other.settle()
    assert other.texts() == ["once"]


async def test_many_simultaneous_joins_give_everybody_the_correct_list(connect: Connect, room: str) -> None:
    clients = await asyncio.gather(*[connect() for _ in range(30)])
    await asyncio.gather(*[client.join(room, name=fresh("g")) for client in clients])
    everybody = {client.socket_id for client in clients}

    async def has_full_list(client: Client) -> None:
        count = 1
        while {user["socketId"] for user in (await client.want("room-users", count))} != everybody:
            count += 1

    await asyncio.gather(*[has_full_list(client) for client in clients])
    for client in clients:
        _lists_follow_their_events(client)


def _lists_follow_their_events(client: Client) -> None:
    """Check that each list shows only users from the client's first list or an earlier ``user-joined``."""
    known: set[str] = set()
    first = True
    for name, payload in client.diary:
        if name == "user-joined":
            known.add(payload["username"])
        elif name == "room-users":
            listed = {user["username"] for user in payload}
            assert first or listed <= known
            known |= listed
            first = False
