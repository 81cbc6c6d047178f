"""§7: the message object, live and stored."""

from __future__ import annotations

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import MESSAGE, PUSHED, conform, same

TEXTS = (
    "  spaces \n\t",
    '<b>&amp; "quotes" \'',
    "e\u0301 \u2260 é",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u2603 \u202e",
    "line\r\nline",
    "x" * 5000,
    "0",
    "\u0007\u007f",
)

NO_RECEIPTS = {"delivered": False, "deliveredTo": [], "read": False, "readBy": []}


@check("7", "A message has exactly these keys, and `seq` (§14.2) where the server numbers messages:")
async def a_live_message_has_its_keys(probe: CheckProbe) -> None:
    member = await probe.member()
    message = await member.says("hello")
    shape = PUSHED | member.who("avatar") | {"message": "hello", "room": member.room}
    conform(message, shape, "receive-message")


@check("7", "A message has exactly these keys, and `seq` (§14.2) where the server numbers messages:")
async def a_stored_message_has_its_keys(probe: CheckProbe) -> None:
    member = await probe.member()
    await member.says("hello")
    stored = await probe.messages(member.room)
    conform(stored, [MESSAGE | {"message": "hello", "userId": member.user_id, "room": member.room}], "data")
    other = await probe.member(member.room, "Bob")
    same(await other.client.want("message-history"), stored, "message-history (expected: the messages over HTTP)")


@check("7", "The text is delivered exactly as it was sent: not trimmed, escaped or normalised.")
async def texts_are_kept_exactly(probe: CheckProbe) -> None:
    member = await probe.member()
    for text in TEXTS:
        await member.client.emit("send-message", {"message": text})
    await member.client.want("receive-message", len(TEXTS))
    same(sorted(member.client.texts()), sorted(TEXTS), "the texts that arrived")
    same(sorted(await probe.texts(member.room)), sorted(TEXTS), "the stored texts")


@check("7", "In `receive-message` `delivered` and `read` are false and both lists are empty.")
async def a_live_message_has_no_receipts(probe: CheckProbe) -> None:
    message = await (await probe.member()).says("hello")
    same({key: message[key] for key in NO_RECEIPTS}, NO_RECEIPTS, "the receipts")


@check(
    "7",
    "| `delivered` | boolean | true if `deliveredTo` is not empty |",
    "| `read` | boolean | true if `readBy` is not empty |",
)
async def receipts_show_in_the_stored_message(probe: CheckProbe) -> None:
    sender, reader, other = await probe.members("Sender", "Ann", "Bob")
    room = sender.room
    first, second = await sender.says("first"), await sender.says("second")
    await other.client.emit("message-delivered", {"messageId": first["id"], "room": room})
    await sender.client.want("message-status-update")
    await reader.client.emit("message-read", {"messageId": first["id"], "room": room})
    await sender.client.want("message-read-update")
    stored = {message["id"]: message for message in await probe.messages(room)}
    got = stored[first["id"]]
    same((got["delivered"], got["read"], got["readBy"]), (True, True, [reader.user_id]), "delivered, read and readBy")
    same(set(got["deliveredTo"]), {reader.user_id, other.user_id}, "deliveredTo")
    rest = stored[second["id"]]
    same((rest["delivered"], rest["read"]), (False, False), "delivered and read of a message without receipts")


@check("7", "`username`, `displayName` and `avatar` are those of the sender's current profile")
async def a_stored_message_shows_the_current_profile(probe: CheckProbe) -> None:
    member = await probe.member()
    await member.says("hello")
    (await probe.change(member.account, {"displayName": "New Name"})).is_status(200)
    same([message["displayName"] for message in await probe.messages(member.room)], ["New Name"], "displayName")
