"""§8.3 and §8.4: which user a socket belongs to, and what guests may do."""

from __future__ import annotations

from typing import Any

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.checks.conventions import NOBODY
from chatsys.lab.conformance.checks.profiles import default_avatar
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import CheckFailed, same, true
from chatsys.lab.conformance.sockets import Client

_ACCOUNT = (
    "If `token` is valid and its account exists, the socket joins as that account; `userId` and `username` are then "
    "ignored."
)


async def _self(client: Client) -> dict[str, Any]:
    """The socket's own element in the newest list."""
    await client.want("room-users")
    for element in client.all("room-users")[-1]:
        if element["socketId"] == client.socket_id:
            return dict(element)
    raise CheckFailed("no element of room-users has the socket's id")


@check("8.3", _ACCOUNT)
async def the_token_decides_who_joins(probe: CheckProbe) -> None:
    account, other = await probe.account(), await probe.account()
    client = await probe.client()
    await probe.join(client, probe.room(), token=account.token, username=other.username, userId=other.user_id)
    me = await _self(client)
    same((me["userId"], me["username"]), (account.user_id, account.username), "userId and username")


@check("8.3", _ACCOUNT)
async def a_token_needs_no_username(probe: CheckProbe) -> None:
    account = await probe.account()
    client = await probe.client()
    await probe.join(client, probe.room(), token=account.token)
    same((await _self(client))["username"], account.username, "username")


@check(
    "8.3", "A guest needs a `username` that is not blank and has at most 50 characters; it is also the display name."
)
async def a_guest_s_username_is_the_display_name(probe: CheckProbe) -> None:
    name = f"Guest ü {probe.name()}"
    me = await _self(await probe.guest(username=name))
    same((me["username"], me["displayName"]), (name, name), "username and displayName")


@check("8.3", "A guest may choose its id: a `userId` of 1 to 64 characters that does not have the form of a UUID.")
async def a_guest_keeps_its_own_id(probe: CheckProbe) -> None:
    for user_id in (f"guest-{probe.name()}", "g", "x" * 64):
        me = await _self(await probe.guest(userId=user_id))
        same(me["userId"], user_id, "userId")


@check("8.3", "If `userId` is anything else or absent, the guest's id is the socket id.")
async def a_guest_without_an_id_has_the_socket_s(probe: CheckProbe) -> None:
    for fields in ({}, {"userId": 5}, {"userId": ""}, {"userId": "x" * 65}):
        client = await probe.guest(**fields)
        same((await _self(client))["userId"], client.socket_id, f"userId with {fields}")


@check("8.3", "If `userId` is anything else or absent, the guest's id is the socket id.")
async def a_guest_cannot_take_a_user_s_id(probe: CheckProbe) -> None:
    account = await probe.account()
    for user_id in (account.user_id, account.user_id.upper(), NOBODY):
        client = await probe.guest(userId=user_id)
        same((await _self(client))["userId"], client.socket_id, "userId")


@check("8.3", "Otherwise the socket joins as a guest, also if the token is bad or expired.")
async def a_bad_token_is_the_same_as_none(probe: CheckProbe) -> None:
    gone = await probe.deleted_account()
    for token in ("garbage", gone.token, 5, ""):
        name = probe.name()
        client = await probe.guest(username=name, token=token)
        me = await _self(client)
        same((me["username"], me["userId"]), (name, client.socket_id), "username and userId")


@check("8.3", "A guest's avatar is the default of §3.1.")
async def a_guest_has_the_default_avatar(probe: CheckProbe) -> None:
    name = f"Guest {probe.name()}"
    same((await _self(await probe.guest(username=name)))["avatar"], default_avatar(name), "avatar")


@check("8.3", "Guests never appear in `/api/users` or in the search.")
async def guests_are_not_among_the_users(probe: CheckProbe) -> None:
    name = probe.name()
    guest = await probe.guest(username=name)
    await guest.list_of(1)
    same((await probe.read(f"/api/users/search/{name}"))["results"], [], "what the search finds")
    true(name not in (await probe.http.get("/api/users")).text, "the list of users has the guest")


@check("8.4", "Guests see the history, send, type and acknowledge like everybody else.")
async def a_guest_chats_like_everybody(probe: CheckProbe) -> None:
    member = await probe.member()
    message = await member.says("before")
    guest = await probe.guest(member.room)
    same([each["message"] for each in guest.all("message-history")[-1]], ["before"], "the guest's history")
    await guest.emit("send-message", {"message": "from a guest"})
    await member.client.text("from a guest")
    await guest.emit("typing", True)
    same((await member.client.want("user-typing"))["isTyping"], True, "isTyping")
    await guest.emit("message-read", {"messageId": message["id"], "room": member.room})
    await member.client.want("message-read-update")


@check("8.4", "A guest appears in `room-users` with `status.online` true, and counts in §6.1, §6.2 and §6.4.")
async def a_guest_counts(probe: CheckProbe) -> None:
    room = (await probe.member()).room
    guest = await probe.guest(room)
    same([each["status"]["online"] for each in await guest.list_of(2)], [True, True], "status.online")
    same((await probe.room_entry(room))["userCount"], 2, "userCount")
    same((await probe.read(f"/api/rooms/{room}/users"))["count"], 2, "count")
    same((await probe.stats(room))["activeUsers"], 2, "activeUsers")


@check("8.4", "A guest's messages stay in the room's history.")
async def a_guest_s_messages_stay(probe: CheckProbe) -> None:
    room, name = probe.room(), probe.name()
    guest = await probe.guest(room, username=name)
    await guest.emit("send-message", {"message": "I was here"})
    await guest.text("I was here")
    await guest.close()
    member = await probe.member(room)
    history = await member.client.want("message-history")
    same([(each["message"], each["username"]) for each in history], [("I was here", name)], "the history")


@check("8.4", "A guest's receipts count in the update events.")
async def a_guest_s_receipts_count(probe: CheckProbe) -> None:
    member = await probe.member()
    message = await member.says("hello")
    guest = await probe.guest(member.room, userId=f"guest-{probe.name()}")
    who = (await _self(guest))["userId"]
    await guest.emit("message-delivered", {"messageId": message["id"], "room": member.room})
    same((await member.client.want("message-status-update"))["deliveredTo"], [who], "deliveredTo")
