"""§14: acknowledgements, sequence numbers, resent messages, replay, operations."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import BOOLEAN, SOME_TEXT, TIMESTAMP, UUID, WHOLE, conform, same, true
from chatsys.lab.conformance.sockets import Client, event

_WHERE = {"success": True, "room": SOME_TEXT, "userId": SOME_TEXT, "sessionId": UUID}
JOINED: dict[str, Any] = _WHERE | {"lastSeq": WHOLE, "replayed": WHOLE, "complete": BOOLEAN, "epoch": SOME_TEXT}
SENT = {"success": True, "id": UUID, "seq": WHOLE, "timestamp": TIMESTAMP, "duplicate": BOOLEAN}
_NOT_COMPLETE = (
    "if it differs, or if `since` is beyond the newest message, the newest history is sent and `complete` is false."
)
_ONE_OBJECT = "Every event of a client may ask for an acknowledgement: one object"


async def _joined(client: Client, room: str, token: str, **fields: Any) -> dict[str, Any]:
    """Join and return the acknowledgement."""
    answer = await client.call("join", {"room": room, "token": token, **fields})
    conform(answer, JOINED | {"room": room}, "the acknowledgement")
    return dict(answer)


async def _sent(client: Client, text: str, **fields: Any) -> dict[str, Any]:
    answer = await client.call("send-message", {"message": text, **fields})
    conform(answer, SENT, "the acknowledgement")
    return dict(answer)


@check("14.1", "That of `join` has `room`, `userId`, `sessionId`, `lastSeq`, `replayed`, `complete` and `epoch`.")
async def a_join_is_acknowledged(probe: CheckProbe) -> None:
    account, client = await probe.account(), await probe.client()
    answer = await _joined(client, probe.room(), account.token)
    same(answer["userId"], account.user_id, "userId")
    same((answer["lastSeq"], answer["replayed"], answer["complete"]), (0, 0, True), "lastSeq, replayed and complete")
    same(answer["sessionId"], (await client.list_of(1))[0]["sessionId"], "sessionId")


@check(
    "14.1",
    "That of `send-message` has `id`, `seq`, `timestamp` and `duplicate`, and comes once the message is durable.",
)
async def a_message_is_acknowledged(probe: CheckProbe) -> None:
    member = await probe.member()
    answer = await _sent(member.client, "hello")
    stored = (await probe.messages(member.room))[-1]
    for key in ("id", "seq", "timestamp"):
        same(stored[key], answer[key], f"{key} of the stored message")
    same(answer["duplicate"], False, "duplicate")
    same((await member.client.text("hello"))["id"], answer["id"], "the id of receive-message")


@check("14.1", _ONE_OBJECT)
async def the_other_events_are_acknowledged(probe: CheckProbe) -> None:
    sender, reader = await probe.members("Sender", "Ann")
    message = await sender.says("hello")
    receipt = {"messageId": message["id"], "room": sender.room}
    for name, payload in (
        ("message-delivered", receipt),
        ("message-read", receipt),
        ("mark-all-read", {"room": sender.room}),
        ("typing", True),
        ("update-online-status", {"online": True}),
        ("leave-room", None),
    ):
        same(await reader.client.call(name, payload), {"success": True}, f"the acknowledgement of {name}")


@check("14.1", '`{"success": false, "code": <stable code>, "message": <text>}`.')
async def a_refusal_is_acknowledged_with_its_code(probe: CheckProbe) -> None:
    client = await probe.client()
    member = await probe.member(name="Bob")
    for who, name, payload, code in (
        (client, "send-message", {"message": "from outside"}, "no_session"),
        (client, "join", {"room": " "}, "join_refused"),
        (member.client, "send-message", {"message": " "}, "validation_failed"),
        (member.client, "message-read", {"messageId": "5", "room": "general"}, "not_found"),
    ):
        answer = await who.call(name, payload)
        conform(answer, {"success": False, "code": code, "message": SOME_TEXT}, f"the acknowledgement of {name}")


@check("14.1", "A client that asks for none gets none.")
async def nobody_gets_an_acknowledgement_unasked(probe: CheckProbe) -> None:
    account = await probe.account()
    raw = await probe.opened()
    await raw.send(event("join", {"room": probe.room(), "token": account.token}))
    await raw.next('42["message-history"')
    await raw.send(event("typing", True), event("send-message", {"message": "hello"}))
    await raw.next('42["receive-message"')
    same([frame for frame in raw.frames if frame.startswith("43")], [], "the acknowledgements that came")
    names = [name for name, _ in raw.events()]
    same(names, ["room-users", "message-history", "receive-message"], "the events that came")


@check(
    "14.2",
    "A message has `seq`: a whole number that starts at 1 in each room and grows by exactly 1 with "
    "each message stored there.",
)
async def messages_are_numbered_without_gaps(probe: CheckProbe) -> None:
    for _ in range(2):
        ann, bob = await probe.members("Ann", "Bob")
        for number in range(10):
            await (ann, bob)[number % 2].client.emit("send-message", {"message": str(number)})
        await ann.client.want("receive-message", 10)
        same([message["seq"] for message in ann.client.all("receive-message")], list(range(1, 11)), "the numbers")


@check("14.2", "`message-history` and §6.3 are ordered by it.")
async def history_is_ordered_by_number(probe: CheckProbe) -> None:
    member = await probe.member()
    for number in range(8):
        await member.client.emit("send-message", {"message": str(number)})
    await member.client.want("receive-message", 8)
    other = await probe.member(member.room, "Bob")
    for messages in (other.client.all("message-history")[-1], await probe.messages(member.room)):
        same([message["seq"] for message in messages], list(range(1, 9)), "the numbers")


@check(
    "14.3",
    "Sending it again stores and broadcasts nothing; the acknowledgement is the first one, with `duplicate` true.",
)
async def a_message_sent_again_is_stored_once(probe: CheckProbe) -> None:
    member = await probe.member()
    first = await _sent(member.client, "hello", clientMessageId="c-1")
    again = await _sent(member.client, "hello", clientMessageId="c-1")
    same(again, first | {"duplicate": True}, "the second acknowledgement")
    await probe.settle(member)
    same(member.client.texts(), ["hello"], "what was broadcast")
    same(len(await probe.messages(member.room)), 1, "the number of stored messages")


@check("14.3", "This holds on every connection of the sender. Another sender may use the same string.")
async def another_connection_sends_again(probe: CheckProbe) -> None:
    member, other = await probe.members("Ann", "Bob")
    first = await _sent(member.client, "hello", clientMessageId="c-1")
    await member.client.close()
    back = await probe.member(member.room, "Ann again", member.account)
    same(await _sent(back.client, "hello", clientMessageId="c-1"), first | {"duplicate": True}, "the acknowledgement")
    same((await _sent(other.client, "hello", clientMessageId="c-1"))["duplicate"], False, "duplicate of another sender")


@check("14.3", "`send-message` may carry `clientMessageId`, a string of 1 to 64 characters, unique for its sender")
async def a_client_message_id_has_1_to_64_characters(probe: CheckProbe) -> None:
    member = await probe.member()
    for good in ("x", "y" * 64):
        await _sent(member.client, "hello", clientMessageId=good)
    for bad in ("", "z" * 65, 5, ["c"]):
        answer = await member.client.call("send-message", {"message": "hello", "clientMessageId": bad})
        same((answer["success"], answer.get("code")), (False, "validation_failed"), f"success and code with {bad!r}")


async def _with_five(probe: CheckProbe) -> tuple[str, str, Client]:
    """A room with five messages, their sender's token, and another client."""
    member = await probe.member()
    for number in range(5):
        await member.says(str(number))
    return member.room, member.account.token, await probe.client("Ann again")


@check("14.4", "then `message-history` has the messages after that number, oldest first")
async def since_gives_what_was_missed(probe: CheckProbe) -> None:
    room, token, client = await _with_five(probe)
    answer = await _joined(client, room, token, since=2)
    same([message["seq"] for message in client.all("message-history")[-1]], [3, 4, 5], "the numbers in the history")
    same((answer["lastSeq"], answer["replayed"], answer["complete"]), (5, 3, True), "lastSeq, replayed and complete")


@check("14.4", _NOT_COMPLETE)
async def a_since_beyond_the_newest_is_not_complete(probe: CheckProbe) -> None:
    room, token, client = await _with_five(probe)
    same((await _joined(client, room, token, since=9))["complete"], False, "complete")
    same(len(client.all("message-history")[-1]), 5, "the number of messages in the history")


@check("14.4", _NOT_COMPLETE)
async def another_epoch_is_not_complete(probe: CheckProbe) -> None:
    room, token, client = await _with_five(probe)
    answer = await _joined(client, room, token, since=3, epoch="another")
    same(answer["complete"], False, "complete with another epoch")
    same(len(client.all("message-history")[-1]), 5, "the number of messages in the history")
    answer = await _joined(client, room, token, since=3, epoch=answer["epoch"])
    same((answer["complete"], answer["replayed"]), (True, 2), "complete and replayed with the right epoch")


@check("14.4", "Between the history and the first live message nothing is missing and nothing comes twice.")
async def nothing_is_missing_between_history_and_live(probe: CheckProbe) -> None:
    sender = await probe.member()

    async def talk() -> None:
        for number in range(120):
            await sender.client.emit("send-message", {"message": str(number)})
            if number % 5 == 4:
                await asyncio.sleep(0.005)

    talking = asyncio.create_task(talk())
    try:
        joiners = [await probe.member(sender.room, f"Joiner {number}") for number in range(3)]
        await talking
    finally:
        talking.cancel()
    await sender.client.want("receive-message", 120)
    last = (await sender.says("the last"))["seq"]
    for joiner in joiners:
        await joiner.client.text("the last")
        messages = joiner.client.all("message-history")[0] + joiner.client.all("receive-message")
        numbers = [message["seq"] for message in messages]
        same(numbers, list(range(numbers[0], last + 1)), f"the numbers that {joiner.client.name} got")


@check("14.4", "If a token was sent and not accepted, the acknowledgement has `guest: true` and `reason`")
async def a_refused_token_is_named(probe: CheckProbe) -> None:
    gone = await probe.deleted_account()
    for token, reason in (("garbage", "invalid"), (gone.token, "unknown")):
        client = await probe.client()
        answer = await client.call("join", {"room": probe.room(), "token": token, "username": probe.name()})
        conform(answer, JOINED | {"guest": True, "reason": reason}, "the acknowledgement")


@check("14.4", "A `since` that is no whole number of at least 0 makes the join fail (§9.1).")
async def a_since_that_is_no_number_fails(probe: CheckProbe) -> None:
    account, client = await probe.account(), await probe.client()
    for since in ("3", -1, 1.5, True, [3]):
        answer = await client.call("join", {"room": probe.room(), "token": account.token, "since": since})
        same((answer["success"], answer.get("code")), (False, "join_refused"), f"success and code with {since!r}")


@check(
    "14.6",
    "`GET /api/ready` answers within a second: 200 when the store can take a message and the bus works",
    "Neither needs a token.",
)
async def ready_answers_within_a_second(probe: CheckProbe) -> None:
    taken = []
    for _ in range(5):  # a busy machine may delay some of them
        begun = time.monotonic()
        (await probe.http.get("/api/ready")).is_status(200)
        taken.append(time.monotonic() - begun)
    true(min(taken) < 1, f"/api/ready took {min(taken):.1f} s at best")


@check("14.6", "`GET /metrics` answers 200 with Prometheus text; a setting switches it off.")
async def metrics_are_prometheus_text(probe: CheckProbe) -> None:
    answer = (await probe.http.get("/metrics")).is_status(200, 404)
    if answer.status == 404:
        answer.fails(404)
        return
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    true(lines and all(line.rpartition(" ")[2] for line in lines), "/metrics has no samples")
    true("# TYPE " in answer.text, "/metrics has no # TYPE line")
