"""Rooms, their sessions, messages and counts (contract §6 and §7)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest

from chatsys.chat import conversation
from chatsys.chat.bundle import new_id
from chatsys.model.values import NewMessage, Participant
from chatsys.web import make_app
from tests.web.conftest import bearer, without_store

STRANGE = ["a/b", "100%", " x ", "\U0001f600", "a?b#c", "..", "x" * 100, "'; --", "\\", "+"]


def quoted(room):
    return "".join(f"%{byte:02X}" for byte in room.encode())


async def test_room_list_has_the_default_rooms_by_name(client):
    body = (await client.get("/api/rooms")).json()
    assert set(body) == {"success", "data", "total"}
    assert [room["name"] for room in body["data"]] == ["general", "random", "tech"]
    assert body["total"] == 3
    assert all(set(room) == {"name", "userCount", "lastActivity"} for room in body["data"])


async def test_room_list_comes_in_pages_of_at_most_a_thousand(chat, client):
    gus = Participant(user_id="gus", username="Gus", display_name="Gus", avatar="", guest=True)
    for number in range(1, 1001):
        await chat.store.post_message(
            NewMessage(message_id=new_id(), room=f"attic {number:04}", who=gus, text="x", at=chat.clock.now())
        )
    names = [f"attic {number:04}" for number in range(1, 1001)] + ["general", "random", "tech"]
    for query, page, more in [
        ("", names[:1000], names[999]),
        ("?limit=5000", names[:1000], names[999]),
        ("?limit=2", names[:2], names[1]),
        ("?limit=2&after=attic%200999", names[999:1001], names[1000]),
        ("?after=attic%201000", names[1000:], None),
        ("?after=general&limit=2", names[1001:], None),
        ("?after=zzz", [], None),
        ("?limit=0", [], None),
    ]:
        body = (await client.get(f"/api/rooms{query}")).json()
        assert [room["name"] for room in body["data"]] == page
        assert (body["total"], body.get("next")) == (len(page), more)
        assert set(body) == {"success", "data", "total"} | ({"next"} if more else set())


async def test_simultaneous_requests_for_a_page_share_it(chat, client, monkeypatch):
    reads = 0
    read = type(chat.store).rooms

    async def counted(store, *arguments):
        nonlocal reads
        reads += 1
        return await read(store, *arguments)

    monkeypatch.setattr(type(chat.store), "rooms", counted)
    answers = await asyncio.gather(*[client.get("/api/rooms") for _ in range(20)])
    assert {answer.content for answer in answers} == {answers[0].content}
    assert reads <= 2


async def test_room_counts_different_users_and_knows_its_newest_message(chat, client, account, enter):
    owner = await account("alice")
    session = await enter("attic", socket_id="s1", token=owner["token"])
    await enter("attic", socket_id="s2", token=owner["token"])
    await enter("attic", socket_id="s3")
    posted = await conversation.send(chat, session, "hello")
    listed = {room["name"]: room for room in (await client.get("/api/rooms")).json()["data"]}
    assert listed["attic"]["userCount"] == 2
    page = (await client.get("/api/rooms/attic/messages")).json()
    assert listed["attic"]["lastActivity"] == page["data"][0]["timestamp"]
    assert page["data"][0]["id"] == posted.message.message_id


async def test_users_of_a_room_come_in_order_of_joining_in_both_shapes(client, account, enter):
    owner = await account("alice")
    await enter("attic", socket_id="s1", username="Gast")
    await enter("attic", socket_id="s2", token=owner["token"])
    body = (await client.get("/api/rooms/attic/users")).json()
    assert set(body) == {"success", "room", "count", "data", "users"}
    assert (body["room"], body["count"]) == ("attic", 2)
    guest, alice = body["data"]
    assert set(guest) == {"id", "userId", "username", "displayName", "avatar", "room", "status"}
    assert (guest["username"], guest["id"], guest["userId"], guest["status"]) == ("Gast", "s1", "s1", "online")
    assert (alice["username"], alice["id"]) == ("alice", owner["userId"])
    presences = body["users"]
    assert [user["userId"] for user in presences] == ["s1", owner["userId"]]
    assert set(presences[1]) == {"userId", "username", "displayName", "avatar", "room", "status"}
    assert presences[1]["status"]["online"] is True
    assert set(presences[1]["status"]) == {"online", "lastSeen"}
    assert presences[0]["status"]["online"] is True


async def test_user_is_online_while_in_a_room(client, chat, account, enter):
    owner = await account("alice")
    session = await enter("attic", socket_id="s1", token=owner["token"])
    profile = (await client.get(f"/api/users/{owner['userId']}")).json()["user"]
    assert profile["status"] == "online"
    assert profile["lastSeen"] is not None
    await conversation.leave(chat, session)
    assert (await client.get(f"/api/users/{owner['userId']}")).json()["user"]["status"] == "offline"


async def test_message_has_the_keys_of_the_contract(chat, client, account, enter):
    owner, other = await account("alice"), await account("bob")
    session = await enter("attic", socket_id="s1", token=owner["token"])
    reader = await enter("attic", socket_id="s2", token=other["token"])
    posted = await conversation.send(chat, session, " <b>é\n")
    await conversation.read(chat, reader, reader.room, posted.message.message_id)
    await client.put(f"/api/users/{owner['userId']}", headers=bearer(owner["token"]), json={"displayName": "New"})
    (message,) = (await client.get("/api/rooms/attic/messages")).json()["data"]
    timestamp = message.pop("timestamp")
    assert timestamp.endswith("Z")
    assert message == {
        "id": posted.message.message_id,
        "seq": 1,
        "username": "alice",
        "displayName": "New",
        "avatar": "https://ui-avatars.com/api/?name=alice&background=667eea&color=fff",
        "userId": owner["userId"],
        "message": " <b>é\n",
        "room": "attic",
        "delivered": True,
        "deliveredTo": [other["userId"]],
        "read": True,
        "readBy": [other["userId"]],
        "editedAt": None,
    }


async def test_pages_count_from_the_newest_and_are_oldest_first(chat, client, enter):
    session = await enter("attic", socket_id="s1")
    for number in range(1, 106):
        await conversation.send(chat, session, str(number))

    async def page(query):
        body = (await client.get(f"/api/rooms/attic/messages{query}")).json()
        assert set(body) == {"success", "room", "data", "total", "limit", "offset"}
        assert body["total"] == len(body["data"])
        return [int(message["message"]) for message in body["data"]], body["limit"], body["offset"]

    assert await page("") == (list(range(6, 106)), 100, 0)
    assert await page("?limit=2&offset=3") == ([101, 102], 2, 3)
    assert await page("?limit=0") == ([], 0, 0)
    assert await page("?limit=007") == ([99, 100, 101, 102, 103, 104, 105], 7, 0)
    assert await page("?offset=104") == ([1], 100, 104)
    assert await page("?offset=105") == ([], 100, 105)
    assert await page("?limit=5000") == (list(range(1, 106)), 1000, 0)
    assert await page("?limit=9223372036854775807&offset=9223372036854775807") == ([], 1000, 2**63 - 1)


async def test_cut_page_says_where_to_continue(chat, client, enter):
    session = await enter("attic", socket_id="s1")
    for number in range(10):
        await conversation.send(chat, session, f"{number}" * 1000)
    small = make_app(replace(chat, limits=replace(chat.limits, page_bytes=3500)))
    transport = httpx.ASGITransport(small)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://chat.test") as frugal:
        for start in ("", "&before=9"):
            seqs: list[int] = []
            offset, truncated = 0, True
            while truncated:
                answer = await frugal.get(f"/api/rooms/attic/messages?limit=1000&offset={offset}{start}")
                body = answer.json()
                assert len(answer.content) <= 3700
                assert body["total"] == len(body["data"]) in (1, 2)
                seqs = [message["seq"] for message in body["data"]] + seqs
                truncated, offset = body.get("truncated", False), body.get("nextOffset")
                assert (offset is None) is not truncated
            assert seqs == list(range(1, 9 if start else 11))
        body = (await frugal.get("/api/rooms/attic/messages?limit=1")).json()
        assert set(body) == {"success", "room", "data", "total", "limit", "offset"}


async def test_page_can_begin_below_a_number(chat, client, enter):
    session = await enter("attic", socket_id="s1")
    for number in range(1, 8):
        await conversation.send(chat, session, str(number))

    async def page(query):
        body = (await client.get(f"/api/rooms/attic/messages?{query}")).json()
        return [message["seq"] for message in body["data"]]

    assert await page("before=5") == [1, 2, 3, 4]
    assert await page("before=5&limit=2") == [3, 4]
    assert await page("before=5&limit=2&offset=1") == [2, 3]
    assert await page("before=1") == await page("before=0") == []
    assert await page("before=9223372036854775807&limit=1") == [7]


async def test_more_than_a_thousand_sessions_are_counted_and_the_newest_listed(chat, client, enter):
    few = make_app(replace(chat, limits=replace(chat.limits, members=2)))
    for number in range(4):
        await enter("attic", socket_id=f"s{number}")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(few), base_url="http://chat.test") as frugal:  # type: ignore[arg-type]
        body = (await frugal.get("/api/rooms/attic/users")).json()
    assert body["count"] == 4
    assert [user["userId"] for user in body["data"]] == [user["userId"] for user in body["users"]] == ["s2", "s3"]


@without_store
@pytest.mark.parametrize("name", ["limit", "offset", "before"])
@pytest.mark.parametrize(
    "value", ["abc", "-1", "", "1.5", "1e3", "%201", "+1", "0x10", "%D9%A3", "9223372036854775808", "9" * 5000, "1_0"]
)
async def test_malformed_number_gives_400(client, name, value):
    answer = await client.get(f"/api/rooms/general/messages?{name}={value}")
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert name in answer.json()["message"]


async def test_room_counts_match_the_messages_and_receipts(chat, client, account, enter):
    owner, other = await account("alice"), await account("bob")
    session = await enter("attic", socket_id="s1", token=owner["token"])
    readers = [await enter("attic", socket_id="s2", token=other["token"]), await enter("attic", socket_id="s3")]
    posted = [await conversation.send(chat, session, text) for text in "abc"]
    for reader in readers:
        await conversation.read(chat, reader, reader.room, posted[0].message.message_id)
    body = (await client.get("/api/rooms/attic/stats")).json()
    assert body == {
        "success": True,
        "room": "attic",
        "data": {"totalMessages": 3, "unreadCount": 2, "activeUsers": 3},
    }


@pytest.mark.parametrize("room", [*STRANGE, "unknown", "x" * 101, " ", "y" * 5000])
async def test_unknown_room_is_empty_and_reading_does_not_create_it(client, room):
    for path, expected in [
        ("users", {"count": 0, "data": [], "users": []}),
        ("messages", {"data": [], "total": 0, "limit": 100, "offset": 0}),
        ("stats", {"data": {"totalMessages": 0, "unreadCount": 0, "activeUsers": 0}}),
    ]:
        answer = await client.get(f"/api/rooms/{quoted(room)}/{path}")
        assert answer.status_code == 200
        assert answer.json() == {"success": True, "room": room, **expected}
    assert (await client.get("/api/rooms")).json()["total"] == 3


@pytest.mark.parametrize("room", STRANGE)
async def test_any_text_can_be_a_room_name(chat, client, enter, room):
    session = await enter(room, socket_id="s1")
    await conversation.send(chat, session, "hello")
    assert (await client.get(f"/api/rooms/{quoted(room)}/messages")).json()["data"][0]["room"] == room
    assert room in [listed["name"] for listed in (await client.get("/api/rooms")).json()["data"]]
