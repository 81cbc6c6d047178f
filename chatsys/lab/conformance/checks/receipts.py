"""§9.3 to §9.5: deliveries, reads, and reading all."""

from __future__ import annotations

from typing import Any

from chatsys.lab.conformance.check import Body, check
from chatsys.lab.conformance.checks.conventions import NOBODY
from chatsys.lab.conformance.probe import CheckedMember, CheckProbe
from chatsys.lab.conformance.shapes import EVENTS, conform, same

KINDS = (("9.3", "message-delivered", "message-status-update"), ("9.4", "message-read", "message-read-update"))
_IGNORED = (
    "The server ignores the event if the message does not exist or is not in `room`, if `messageId` is not a UUID"
)
IGNORED = {"9.3": _IGNORED, "9.4": "The server ignores the event in the cases of §9.3."}
AGAIN = {
    "9.3": "Sending the event again changes nothing; the server MAY send the same update again.",
    "9.4": "Sending the event again changes nothing.",
}


async def _sent(probe: CheckProbe) -> tuple[str, CheckedMember, CheckedMember, dict[str, Any]]:
    """A room, the sender, a reader, and a message."""
    sender, reader = await probe.members("Sender", "Ann")
    return sender.room, sender, reader, await sender.says("hello")


async def _receipts(probe: CheckProbe, room: str, message: dict[str, Any]) -> dict[str, Any]:
    """The stored message's lists of users."""
    stored = next(each for each in await probe.messages(room) if each["id"] == message["id"])
    return {key: stored[key] for key in ("deliveredTo", "readBy")}


@check("9.3", "**R** get `message-status-update`: `{messageId, delivered: true, deliveredTo, deliveredBy, timestamp}`.")
async def a_delivery_is_shown_to_everybody(probe: CheckProbe) -> None:
    room, sender, reader, message = await _sent(probe)
    await reader.client.emit("message-delivered", {"messageId": message["id"], "room": room})
    for each in (sender, reader):
        update = await each.client.want("message-status-update")
        shape = EVENTS["message-status-update"] | {"messageId": message["id"], "deliveredBy": reader.user_id}
        conform(update, shape, "message-status-update")
        same(update["deliveredTo"], [reader.user_id], "deliveredTo")


@check("9.3", "`deliveredTo` has all users to whom the message has been delivered so far.")
async def delivered_to_is_complete(probe: CheckProbe) -> None:
    room, sender, reader, message = await _sent(probe)
    other = await probe.member(room, "Bob")
    for number, each in enumerate((reader, other), start=1):
        await each.client.emit("message-delivered", {"messageId": message["id"], "room": room})
        update = await sender.client.want("message-status-update", number)
    same(set(update["deliveredTo"]), {reader.user_id, other.user_id}, "deliveredTo")
    same(update["deliveredBy"], other.user_id, "deliveredBy")


def _ignored(event: str, update: str, wrong: Any) -> Body:
    async def body(probe: CheckProbe) -> None:
        room, sender, reader, message = await _sent(probe)
        await reader.client.emit(event, {"messageId": message["id"], "room": room} | wrong)
        await probe.gets_no(update, sender, reader)
        same(await _receipts(probe, room, message), {"deliveredTo": [], "readBy": []}, "the receipts")

    return body


def _own(event: str, update: str) -> Body:
    async def body(probe: CheckProbe) -> None:
        room, sender, reader, message = await _sent(probe)
        again = await probe.member(room, "Sender again", sender.account)
        for each in (sender, again):
            await each.client.emit(event, {"messageId": message["id"], "room": room})
        await probe.gets_no(update, sender, reader, again)

    return body


def _elsewhere(event: str, update: str) -> Body:
    async def body(probe: CheckProbe) -> None:
        room, sender, reader, message = await _sent(probe)
        outside = await probe.member(name="Outside")
        await outside.client.emit(event, {"messageId": message["id"], "room": room})
        await probe.gets_no(update, sender, reader, outside)

    return body


def _repeated(event: str, update: str, who: str) -> Body:
    async def body(probe: CheckProbe) -> None:
        room, sender, reader, message = await _sent(probe)
        for _ in range(3):
            await reader.client.emit(event, {"messageId": message["id"], "room": room})
        await sender.client.want(update)
        await probe.settle(sender, reader)
        updates = sender.client.all(update)
        same([each[who] for each in updates], [[reader.user_id]] * len(updates), f"{who} of each update")
        same((await _receipts(probe, room, message))[who], [reader.user_id], who)

    return body


for _section, _event, _update in KINDS:
    _what = "delivery" if _section == "9.3" else "read"
    _who = "deliveredTo" if _section == "9.3" else "readBy"
    for _name, _wrong in (
        ("an_unknown_message", {"messageId": NOBODY}),
        ("an_id_that_is_no_uuid", {"messageId": "5"}),
        ("a_message_of_another_room", {"room": "general"}),
    ):
        check(_section, IGNORED[_section], name=f"a_{_what}_of_{_name}_is_ignored")(_ignored(_event, _update, _wrong))
    check(_section, IGNORED[_section], name=f"a_{_what}_by_the_sender_is_ignored")(_own(_event, _update))
    check(_section, IGNORED[_section], name=f"a_{_what}_from_another_room_is_ignored")(_elsewhere(_event, _update))
    check(_section, AGAIN[_section], name=f"a_repeated_{_what}_changes_nothing")(_repeated(_event, _update, _who))


@check(
    "9.4",
    "**R** get `message-read-update`: `{messageId, read: true, readBy, readByUser, readByUsername, "
    "timestamp}`; `readByUsername` is the display name.",
)
async def a_read_is_shown_to_everybody(probe: CheckProbe) -> None:
    sender = await probe.member(name="Sender")
    reader = await probe.member(sender.room, account=await probe.account(displayName="Ann Lee"))
    message = await sender.says("hello")
    await reader.client.emit("message-read", {"messageId": message["id"], "room": sender.room})
    for each in (sender, reader):
        update = await each.client.want("message-read-update")
        who = {"messageId": message["id"], "readByUser": reader.user_id, "readByUsername": "Ann Lee"}
        conform(update, EVENTS["message-read-update"] | who, "message-read-update")
        same(update["readBy"], [reader.user_id], "readBy")


@check("9.4", "Reading records the delivery as well, without a `message-status-update`.")
async def a_read_records_the_delivery(probe: CheckProbe) -> None:
    room, sender, reader, message = await _sent(probe)
    await reader.client.emit("message-read", {"messageId": message["id"], "room": room})
    await sender.client.want("message-read-update")
    await probe.gets_no("message-status-update", sender, reader)
    both = {"deliveredTo": [reader.user_id], "readBy": [reader.user_id]}
    same(await _receipts(probe, room, message), both, "the receipts")


@check(
    "9.5",
    "**R** get `messages-marked-read`: `{messageIds, readBy, readByUsername, timestamp}`; `readBy` is the user's id.",
    "`messageIds` has exactly the newly marked messages",
)
async def all_unread_messages_are_marked(probe: CheckProbe) -> None:
    room, sender, reader, first = await _sent(probe)
    second, third = await sender.says("second"), await sender.says("third")
    await reader.says("my own")
    await reader.client.emit("message-read", {"messageId": second["id"], "room": room})
    await sender.client.want("message-read-update")
    await reader.client.emit("mark-all-read", {"room": room})
    for each in (sender, reader):
        update = await each.client.want("messages-marked-read")
        name = reader.account.user["displayName"]
        shape = EVENTS["messages-marked-read"] | {"readBy": reader.user_id, "readByUsername": name}
        conform(update, shape, "messages-marked-read")
        same(set(update["messageIds"]), {first["id"], third["id"]}, "messageIds")


@check("9.5", "if there are none, nothing is sent.")
async def marking_nothing_sends_nothing(probe: CheckProbe) -> None:
    room, sender, reader, _ = await _sent(probe)
    await sender.client.emit("mark-all-read", {"room": room})
    await probe.gets_no("messages-marked-read", sender)
    await reader.client.emit("mark-all-read", {"room": room})
    await sender.client.want("messages-marked-read")
    await reader.client.emit("mark-all-read", {"room": room})
    await probe.settle(reader)
    same(len(sender.client.all("messages-marked-read")), 1, "how often messages-marked-read came")


@check("9.5", "It marks all messages of other senders in the room that the user has not read, their delivery included.")
async def marking_records_reads_and_deliveries(probe: CheckProbe) -> None:
    room, sender, reader, _ = await _sent(probe)
    await sender.says("second")
    await reader.client.emit("mark-all-read", {"room": room})
    await sender.client.want("messages-marked-read")
    for stored in await probe.messages(room):
        same((stored["deliveredTo"], stored["readBy"]), ([reader.user_id], [reader.user_id]), "deliveredTo and readBy")
    same((await probe.stats(room))["unreadCount"], 0, "unreadCount")


@check("9.5", "`room` must be the socket's own.")
async def another_room_is_not_marked(probe: CheckProbe) -> None:
    room, sender, reader, _ = await _sent(probe)
    outside = await probe.member(name="Outside")
    await outside.client.emit("mark-all-read", {"room": room})
    await reader.client.emit("mark-all-read", {"room": "general"})
    await reader.client.emit("mark-all-read", {"room": 5})
    await probe.gets_no("messages-marked-read", sender, reader, outside)
    same((await probe.stats(room))["unreadCount"], (await probe.stats(room))["totalMessages"], "unreadCount")
