"""§9.1: joining a room."""

from __future__ import annotations

import asyncio
from typing import Any

from chatsys.lab.conformance.check import Body, check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import EVENTS, conform, same, true

FAILS = 'If the join fails, **S** gets `error` `{message: "Failed to join room"}` and the connection stays usable.'
_HISTORY = "3. **S** gets `message-history`: the newest 100 messages, oldest first; an empty list in a new room."

REFUSED: tuple[tuple[str, Any], ...] = (
    ("without_a_payload", ...),
    ("with_null", None),
    ("with_text", "general"),
    ("with_a_list", ["general"]),
    ("without_a_room", {"room": ...}),
    ("with_a_number_as_room", {"room": 5}),
    ("with_null_as_room", {"room": None}),
    ("with_a_list_as_room", {"room": ["general"]}),
    ("with_an_empty_room", {"room": ""}),
    ("with_a_blank_room", {"room": "  "}),
    ("with_a_long_room", {"room": "x" * 101}),
    ("with_a_null_character_in_the_room", {"room": "a\0b"}),
    ("as_a_guest_without_a_username", {"token": ..., "username": ...}),
    ("as_a_guest_with_a_blank_username", {"token": ..., "username": " "}),
    ("as_a_guest_with_a_long_username", {"token": ..., "username": "x" * 51}),
)
"""What is wrong with the join, and its payload: the fields that differ from a valid one; ``...`` leaves a field out."""


def _refused(payload: Any) -> Body:
    async def body(probe: CheckProbe) -> None:
        account = await probe.account()
        client = await probe.client()
        sent: Any = payload
        if isinstance(payload, dict):
            good: dict[str, Any] = {"room": probe.room(), "token": account.token, "username": account.username}
            sent = {key: value for key, value in (good | payload).items() if value is not ...}
        if sent is None:  # the client's library sends no argument for None
            await client.sio.emit("join", (None,))
        else:
            await client.emit("join", None if sent is ... else sent)
        same(await client.want("error"), {"message": "Failed to join room"}, "error")
        same(client.names(), ["error"], "the events that came")
        await probe.join(client, probe.room(), token=account.token, username=account.username)

    return body


for _name, _payload in REFUSED:
    check("9.1", FAILS, name=f"a_join_{_name}_fails")(_refused(_payload))


@check(
    "9.1",
    "1. **O** get `user-joined`: `{username, displayName, avatar, userId, message, timestamp}`; "
    "`message` is `<displayName> has joined the chat`.",
)
async def the_others_get_user_joined(probe: CheckProbe) -> None:
    watcher = await probe.member(name="Watcher")
    member = await probe.member(watcher.room, account=await probe.account(displayName="Ann Lee"))
    shape = EVENTS["user-joined"] | member.who("avatar") | {"message": "Ann Lee has joined the chat"}
    conform(await watcher.client.want("user-joined"), shape, "user-joined")
    await probe.gets_no("user-joined", member)
    same(len(watcher.client.all("user-joined")), 1, "how often user-joined came")


@check("9.1", "2. **R** get `room-users` (§10.1) with the new session.")
async def everybody_gets_the_new_list(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    for each in (watcher, member):
        found = await each.client.list_of(2)
        conform(found, EVENTS["room-users"], "room-users")
        same([element["userId"] for element in found], [watcher.user_id, member.user_id], "who is in the list")


@check("9.1", _HISTORY)
async def the_history_follows_the_list(probe: CheckProbe) -> None:
    member = await probe.member()
    same(await member.client.want("message-history"), [], "the history of a new room")
    same(member.client.names()[:2], ["room-users", "message-history"], "the first events of a join")


@check("9.1", _HISTORY, within=120)
async def the_history_has_the_newest_100(probe: CheckProbe) -> None:
    sender = await probe.member()
    for number in range(105):
        await sender.client.emit("send-message", {"message": str(number)})
        if number % 20 == 19:
            await sender.client.want("receive-message", number + 1)
    await sender.client.want("receive-message", 105)
    stored = [message["id"] for message in await probe.messages(sender.room)]
    member = await probe.member(sender.room, "Bob")
    history = await member.client.want("message-history")
    same(len(history), 100, "the number of messages")
    same([message["id"] for message in history], stored, "the history beside the newest 100 over HTTP")
    same(history, sorted(history, key=lambda message: str(message["timestamp"])), "the order by time")


@check("9.1", "The room is created if need be, also if several join it at the same time.", within=120)
async def several_may_join_a_new_room_at_once(probe: CheckProbe) -> None:
    accounts = [await probe.account() for _ in range(8)]
    clients = [await probe.client(f"Ann {number}") for number in range(8)]
    for _ in range(4):
        room = probe.room()
        joins = [{"room": room, "token": account.token, "username": account.username} for account in accounts]
        await asyncio.gather(*(client.emit("join", join) for client, join in zip(clients, joins, strict=True)))
        for client in clients:
            await client.list_of(8)
            same(client.all("error"), [], f"the errors that {client.name} got")


@check("9.1", "The user becomes online; that alone sends no `user-status-update`.")
async def a_join_sends_no_status(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    found = await watcher.client.list_of(2)
    same([element["status"]["online"] for element in found], [True, True], "status.online")
    await probe.gets_no("user-status-update", watcher, member)
    true("user-joined" in watcher.client.names(), "user-joined did not come")
