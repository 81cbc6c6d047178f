"""§9.2: sending messages."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from chatsys.lab.conformance.check import Body, check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import CheckFailed, same, true
from chatsys.lab.conformance.sockets import event

DROPPED = (
    "The server drops anything else: it stores and broadcasts nothing, and **S** gets `error` `{message: <text>}`."
)

NO_TEXTS: tuple[tuple[str, Any], ...] = (
    ("without_a_payload", ...),
    ("without_a_text", {}),
    ("with_null", {"message": None}),
    ("with_a_number", {"message": 5}),
    ("with_a_boolean", {"message": True}),
    ("with_an_object", {"message": {"a": "b"}}),
    ("with_a_list", {"message": ["a"]}),
    ("with_bytes", {"message": b"bytes"}),
    ("with_an_empty_text", {"message": ""}),
    ("with_a_blank_text", {"message": " \n\t\u00a0"}),
    ("with_a_null_character", {"message": "a\0b"}),
)


def _dropped(payload: Any) -> Body:
    async def body(probe: CheckProbe) -> None:
        watcher, sender = await probe.members("Watcher", "Ann")
        await sender.client.emit("send-message", None if payload is ... else payload)
        await sender.client.want("error")
        await probe.settle(watcher, sender)
        same(sender.client.texts() + watcher.client.texts(), [], "what was broadcast")
        same(watcher.client.all("error"), [], "the errors that the other one got")
        same(await probe.messages(sender.room), [], "what was stored")

    return body


for _name, _payload in NO_TEXTS:
    check("9.2", DROPPED, name=f"a_message_{_name}_is_dropped")(_dropped(_payload))


@check("9.2", "Each socket in **R**, the sender's included, gets `receive-message` (§7) exactly once.")
async def everybody_gets_a_message_once(probe: CheckProbe) -> None:
    sender, ann, bob = await probe.members("Sender", "Ann", "Bob")
    message = await sender.says("hello")
    for each in (sender, ann, bob):
        same(await each.client.text("hello"), message, f"the message that {each.client.name} got")
    await probe.settle(sender, ann, bob)
    for each in (sender, ann, bob):
        same(each.client.texts(), ["hello"], f"the messages that {each.client.name} got")


@check("9.2", "Sockets in other rooms never get it.")
async def other_rooms_get_no_message(probe: CheckProbe) -> None:
    elsewhere, sender = await probe.member(name="Elsewhere"), await probe.member()
    await sender.says("only here")
    await probe.settle(elsewhere)
    same(elsewhere.client.texts(), [], "what arrived in the other room")


@check(
    "9.2",
    "The server stores the message before it broadcasts it, so a client that got the message also finds it in §6.3.",
)
async def a_broadcast_message_is_stored(probe: CheckProbe) -> None:
    sender = await probe.member()
    for number in range(5):
        message = await sender.says(str(number))
        stored = [each["id"] for each in await probe.messages(sender.room)]
        true(message["id"] in stored, f"message {number} is not stored yet")


@check("9.2", "The server replaces a lone surrogate by U+FFFD or drops the message.")
async def a_lone_surrogate_is_replaced_or_dropped(probe: CheckProbe) -> None:
    account, watcher = await probe.account(), await probe.member(name="Watcher")
    raw = await probe.opened()
    await raw.send(event("join", {"room": watcher.room, "token": account.token, "username": account.username}))
    await raw.next('42["message-history"')
    await raw.send(r'42["send-message",{"message":"a\ud800b"}]', event("send-message", {"message": "after"}))
    await watcher.client.text("after")
    true(watcher.client.texts() in (["a\ufffdb", "after"], ["after"]), f"{watcher.client.texts()} arrived")


@check("9.2", "A message in a packet of at most 1,000,000 bytes is delivered in full.")
async def a_large_message_is_delivered_in_full(probe: CheckProbe) -> None:
    sender, watcher = await probe.members("Ann", "Bob")
    text = "0123456789" * 99_000
    await sender.client.emit("send-message", {"message": text})
    message = await watcher.client.text(text)
    same(len(message["message"]), len(text), "the number of characters")


@check("9.2", "A larger packet may end the sender's connection; no other client is affected.")
async def a_larger_packet_is_felt_by_nobody_else(probe: CheckProbe) -> None:
    ann, bob, sender = await probe.members("Ann", "Bob", "Sender")
    with suppress(CheckFailed):  # the server may close the connection during the send
        await sender.client.emit("send-message", {"message": "x" * 1_200_000})
    await ann.says("undisturbed")
    await bob.client.text("undisturbed")
    true(all(len(text) < 1_000_000 for text in bob.client.texts()), "the packet was delivered")
