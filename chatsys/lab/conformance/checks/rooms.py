"""§6: rooms over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckProbe, room_path
from chatsys.lab.conformance.shapes import MAYBE_TIMESTAMP, MESSAGE, NAMES, TEXT, TIMESTAMP, WHOLE, conform, same, true

ENTRY = {"name": TEXT, "userCount": WHOLE, "lastActivity": TIMESTAMP}
DATA = NAMES | {"id": TEXT, "userId": TEXT, "room": TEXT, "status": "online"}
USERS = NAMES | {"userId": TEXT, "room": TEXT, "status": {"online": True, "lastSeen": MAYBE_TIMESTAMP}}


@check("6", "A room exists once somebody has joined it; no room is ever removed.")
async def a_room_exists_once_somebody_has_joined(probe: CheckProbe) -> None:
    member = await probe.member()
    await probe.room_entry(member.room)
    await member.client.emit("leave-room")
    await member.client.close()
    await probe.room_entry(member.room)


@check("6", "An unknown room gives empty results with 200, and asking for it does not create it.")
async def an_unknown_room_is_empty(probe: CheckProbe) -> None:
    room = probe.room()
    same((await probe.read(room_path(room, "users")))["data"], [], "data of the users")
    same(await probe.messages(room), [], "the messages")
    conform(await probe.stats(room), {"totalMessages": 0, "unreadCount": 0, "activeUsers": 0}, "data of the stats")
    true(room not in [entry["name"] for entry in await probe.rooms()], "asking for the room has created it")


@check("6", "it is case-sensitive and used as sent.")
async def room_names_are_used_as_sent(probe: CheckProbe) -> None:
    base = probe.room()
    for room in (f" {base} ", f"{base}/ü\u2603?#%", base, base.upper()):
        member = await probe.member(room)
        await member.says(f"in {room}")
        same(await probe.texts(room), [f"in {room}"], f"the messages of {room!r}")


@check(
    "6.1",
    "It answers 200 with the rooms by name as `data`, each `name`, `userCount` and `lastActivity`, "
    "and their number as `total`.",
)
async def rooms_are_listed(probe: CheckProbe) -> None:
    body = (await probe.http.get("/api/rooms")).succeeds({"data": [ENTRY], "total": WHOLE, "next?": TEXT})
    same(body["total"], len(body["data"]), "total")


@check("6.1", "It answers 200 with the rooms by name as `data`")
async def rooms_are_in_order_of_their_names(probe: CheckProbe) -> None:
    base = probe.room()
    rooms = [f"{base}_{letter}" for letter in "cab"]
    for room in rooms:
        await probe.member(room)
    names = [entry["name"] for entry in await probe.rooms()]
    same([name for name in names if name in rooms], sorted(rooms), "the order of the rooms")


@check("6.1", "`general`, `random` and `tech` exist from the first start on, each once.")
async def the_default_rooms_exist_once(probe: CheckProbe) -> None:
    names = [entry["name"] for entry in await probe.rooms()]
    for name in ("general", "random", "tech"):
        same(names.count(name), 1, f"how often {name} is listed")


@check("6.1", "`userCount` is the number of different users now in the room, guests included.")
async def a_user_with_two_sessions_counts_once(probe: CheckProbe) -> None:
    member, _ = await probe.members("Ann", "Bob")
    await probe.member(member.room, "Ann again", member.account)
    same((await probe.room_entry(member.room))["userCount"], 2, "userCount")


@check("6.1", "`lastActivity` is the time of the newest message, or of the room's creation.")
async def last_activity_is_that_of_the_newest_message(probe: CheckProbe) -> None:
    member = await probe.member()
    before = (await probe.room_entry(member.room))["lastActivity"]
    conform(before, TIMESTAMP, "lastActivity of a new room")
    message = await member.says("hello")
    same((await probe.room_entry(member.room))["lastActivity"], message["timestamp"], "lastActivity")


@check("6.1", "if there are more, `next` is the name to send as `after`.", additions=True)
async def rooms_come_in_pages(probe: CheckProbe) -> None:
    first = await probe.read("/api/rooms?limit=2")
    same(len(first["data"]), 2, "the number of rooms on a page of 2")
    after = quote(first["next"], safe="")
    second = await probe.read(f"/api/rooms?limit=1&after={after}")
    names = [entry["name"] for entry in await probe.rooms()]
    shown = [entry["name"] for entry in first["data"] + second["data"]]
    true(len(shown) == 3 and shown == sorted(set(shown)), f"the pages show {shown}")
    true(set(shown) <= set(names), "a page shows a room that is not in the list")


@check(
    "6.2",
    "It answers 200 with `room`, and one element for each session, in order of joining, both as "
    "`data` and as `users`; `count` is their number.",
)
async def room_users_are_listed_twice(probe: CheckProbe) -> None:
    first, second = await probe.members("Ann", "Bob")
    third = await probe.member(first.room, "Ann again", first.account)
    await third.client.list_of(3)
    body = await probe.read(room_path(first.room, "users"))
    conform(body, {"success": True, "room": first.room, "count": 3, "data": [DATA], "users": [USERS]})
    ids = [first.user_id, second.user_id, first.user_id]
    same([each["userId"] for each in body["data"]], ids, "the order in data")
    same([each["userId"] for each in body["users"]], ids, "the order in users")


@check("6.2", "An element of `data` has `id` and `userId` (both the user's id)")
async def an_element_of_data_is_the_session_s_user(probe: CheckProbe) -> None:
    member = await probe.member(account=await probe.account(displayName="Ann Lee"))
    data = (await probe.read(room_path(member.room, "users")))["data"]
    conform(data, [DATA | member.who() | {"id": member.user_id, "room": member.room}], "data")
    same(len(data), 1, "the number of elements")


@check(
    "6.3",
    "It answers 200 with `room`, messages (§7) as `data`, their number as `total`, and the `limit` "
    "and `offset` that were used.",
)
async def messages_are_listed(probe: CheckProbe) -> None:
    member = await probe.member()
    await member.says("one")
    shape = {"room": member.room, "data": [MESSAGE], "total": 1, "limit": 100, "offset": 0}
    body = (await probe.http.get(room_path(member.room, "messages"))).succeeds(shape)
    same([message["message"] for message in body["data"]], ["one"], "the texts")


async def _five(probe: CheckProbe) -> str:
    member = await probe.member()
    for number in range(5):
        await member.says(str(number))
    return member.room


@check(
    "6.3",
    "Counting from the newest message, the server skips `offset` messages (default 0) and returns the next `limit` "
    "(default 100), the oldest first.",
)
async def pages_count_from_the_newest(probe: CheckProbe) -> None:
    room = await _five(probe)
    pages = {"": "01234", "?limit=2": "34", "?limit=2&offset=1": "23", "?offset=3": "01", "?offset=9": ""}
    for query, expected in pages.items():
        same("".join(await probe.texts(room, query)), expected, f"the messages with {query or 'no query'}")


@check("6.3", "A `limit` of 0 gives an empty page; one over 1,000 MAY be cut to 1,000, and `limit` says so.")
async def limits_at_both_ends(probe: CheckProbe) -> None:
    room = await _five(probe)
    none = await probe.read(room_path(room, "messages?limit=0"))
    same((none["data"], none["total"], none["limit"]), ([], 0, 0), "data, total and limit with limit=0")
    many = await probe.read(room_path(room, "messages?limit=5000"))
    true(many["limit"] in (1000, 5000), f"limit is {many['limit']} with limit=5000")
    same(many["total"], 5, "total")


@check(
    "6.3", "A `limit` or `offset` that is not a whole number from 0 to 2^63 - 1 is answered with 400 and an error body."
)
async def other_limits_are_400(probe: CheckProbe) -> None:
    for value in ("abc", "-1", "1.5", "99999999999999999999"):
        for name in ("limit", "offset"):
            (await probe.http.get(room_path(probe.room(), f"messages?{name}={value}"))).fails(400)


@check("6.3", "`before=<seq>` may be sent: then the page has the newest messages below that number.", additions=True)
async def before_counts_from_a_number(probe: CheckProbe) -> None:
    room = await _five(probe)
    found: list[Any] = [message["seq"] for message in await probe.messages(room, "?before=4&limit=2")]
    same(found, [2, 3], "the numbers of the messages before 4")


@check("6.4", "It answers 200 with `room` and, as `data`, `totalMessages`, `unreadCount` and `activeUsers`.")
async def stats_are_three_numbers(probe: CheckProbe) -> None:
    room = await _five(probe)
    shape = {"room": room, "data": {"totalMessages": 5, "unreadCount": 5, "activeUsers": 1}}
    (await probe.http.get(room_path(room, "stats"))).succeeds(shape)


@check(
    "6.4",
    "`totalMessages` counts each message once, however many have read it.",
    "`unreadCount` counts the messages that nobody has read yet.",
)
async def a_message_with_two_readers_counts_once(probe: CheckProbe) -> None:
    sender, ann, bob = await probe.members("Sender", "Ann", "Bob")
    read, _ = await sender.says("read"), await sender.says("unread")
    for reader in (ann, bob):
        await reader.client.emit("message-read", {"messageId": read["id"], "room": sender.room})
    await sender.client.want("message-read-update", 2)
    conform(await probe.stats(sender.room), {"totalMessages": 2, "unreadCount": 1, "activeUsers": 3}, "data")


@check("6.4", "`activeUsers` is the room's `userCount` (§6.1).")
async def active_users_are_different_users(probe: CheckProbe) -> None:
    member, other = await probe.members("Ann", "Bob")
    await probe.member(member.room, "Ann again", member.account)
    same((await probe.stats(member.room))["activeUsers"], 2, "activeUsers")
    await other.client.emit("leave-room")
    await member.client.want("user-left")
    same((await probe.stats(member.room))["activeUsers"], 1, "activeUsers after one has left")
