"""§10: the rules for all events to clients, and the lists of users."""

from __future__ import annotations

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import EVENTS, ROOM_USER, conform, same, true


@check("10", "Each event has exactly one argument.", "| event | to | payload |")
async def every_event_has_one_argument_as_listed(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    message = await watcher.says("hello")
    for event, payload in (
        ("typing", True),
        ("message-delivered", {"messageId": message["id"], "room": watcher.room}),
        ("message-read", {"messageId": message["id"], "room": watcher.room}),
        ("send-message", {"message": 5}),
        ("update-online-status", {"online": False}),
    ):
        await member.client.emit(event, payload)
    await member.client.want("message-read-update")
    await watcher.says("second")
    await member.client.emit("mark-all-read", {"room": watcher.room})
    await member.client.want("messages-marked-read")
    await member.client.emit("leave-room")
    await watcher.client.want("user-left")
    await probe.settle(watcher)
    received = watcher.client.received + member.client.received
    for name, arguments in received:
        same(len(arguments), 1, f"the number of arguments of {name}")
        true(name in EVENTS, f"{name} is not an event of the protocol")
        conform(arguments[0], EVENTS[name], name)
    same(sorted(set(EVENTS) - {name for name, _ in received}), [], "the events that did not come")


@check(
    "10.1", "There is one element for each session, in order of joining; a user with two sockets in the room has two."
)
async def the_list_has_an_element_for_each_session(probe: CheckProbe) -> None:
    first, second = await probe.members("Ann", "Bob")
    third = await probe.member(first.room, "Ann again", first.account)
    found = await third.client.list_of(3)
    same([each["userId"] for each in found], [first.user_id, second.user_id, first.user_id], "the order of the list")
    true(len({each["sessionId"] for each in found}) == 3, "two elements have one sessionId")


@check(
    "10.1",
    "An element has `sessionId`, `socketId`, `userId`, `username`, `displayName`, `avatar`, `room`, "
    "`joinedAt` and `status` `{online, lastSeen}`.",
)
async def an_element_of_the_list_has_its_keys(probe: CheckProbe) -> None:
    member = await probe.member()
    found = await member.client.list_of(1)
    conform(found, [ROOM_USER | member.who("avatar") | {"room": member.room}], "room-users")
    same(found[0]["status"]["online"], True, "status.online")


@check("10.1", "`socketId` is the Socket.IO id of that client.")
async def the_socket_id_is_that_of_the_client(probe: CheckProbe) -> None:
    members = await probe.members("Ann", "Bob")
    found = await members[1].client.list_of(2)
    same([each["socketId"] for each in found], [member.client.socket_id for member in members], "the socket ids")


@check("10.2", "Each member's last list is the current one.")
async def the_last_list_is_the_current_one(probe: CheckProbe) -> None:
    members = await probe.members(*(f"Ann {number}" for number in range(5)))
    for member in members[3:]:
        await member.client.emit("leave-room")
    expected = [member.user_id for member in members[:3]]
    for member in members[:3]:
        await member.client.want("user-left", 2)
        found = await member.client.list_of(3)
        same([each["userId"] for each in found], expected, f"the last list of {member.client.name}")


@check("10.2", "A list never precedes the `user-joined` or `user-left` that it reflects.")
async def a_list_never_precedes_its_reason(probe: CheckProbe) -> None:
    watcher, *members = await probe.members("Watcher", *(f"Ann {number}" for number in range(4)))
    for member in members:
        await member.client.emit("leave-room")
    await watcher.client.want("user-left", 4)
    await probe.settle(watcher)
    present = {watcher.user_id}
    for name, (payload, *_) in watcher.client.received:
        if name == "user-joined":
            present.add(payload["userId"])
        elif name == "user-left":
            present.discard(payload["userId"])
        elif name == "room-users":
            same({each["userId"] for each in payload}, present, "the users in a list, given the joins before it,")
