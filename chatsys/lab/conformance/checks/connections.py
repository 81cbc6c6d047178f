"""§8.1, §8.2, §8.5 and §8.6: transports, packets, order, one room for each socket."""

from __future__ import annotations

import json

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import SOME_TEXT, TEXT, conform, same, true
from chatsys.lab.conformance.sockets import Client, event

HANDSHAKE = {"sid": SOME_TEXT, "pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 1_000_000}
_POLL = "/socket.io/?EIO=4&transport=polling"
_FIELDS = "`pingInterval` 25000, `pingTimeout` 20000 and `maxPayload` 1000000."
_REFUSED = "A transport that is absent or unknown, and an unknown `sid`, are answered with 400."


async def _handshake(probe: CheckProbe) -> dict[str, object]:
    text = (await probe.http.get(_POLL)).is_status(200).text
    true(text.startswith("0{"), f"a handshake begins with {text[:20]!r}")
    return dict(json.loads(text[1:]))


@check("8.1", _FIELDS)
async def a_polling_handshake_has_its_fields(probe: CheckProbe) -> None:
    handshake = await _handshake(probe)
    same(handshake.pop("upgrades", "absent"), ["websocket"], "upgrades")
    conform(handshake, HANDSHAKE, "the handshake")


@check("8.1", "Socket.IO protocol 5 over Engine.IO 4 is served at `/socket.io/`, in the default namespace only.")
async def a_websocket_handshake_has_its_fields(probe: CheckProbe) -> None:
    raw = await probe.raw()
    handshake = json.loads((await raw.next("0{"))[1:])
    same(HANDSHAKE.keys() - handshake.keys(), set(), "the set of missing keys of the handshake")
    same(handshake["pingInterval"], 25_000, "pingInterval")
    await raw.send("40")
    answer = json.loads((await raw.next("40{"))[2:])
    conform(answer, {"sid": SOME_TEXT, "pid?": TEXT}, "the answer to CONNECT")


@check("8.1", _REFUSED)
async def an_unknown_transport_is_400(probe: CheckProbe) -> None:
    for query in ("EIO=4", "EIO=4&transport=carrier-pigeon"):
        (await probe.http.get(f"/socket.io/?{query}")).is_status(400)


@check("8.1", _REFUSED)
async def an_unknown_sid_is_400(probe: CheckProbe) -> None:
    (await probe.http.get(f"{_POLL}&sid=unknown")).is_status(400)
    (await probe.http.post(f"{_POLL}&sid=unknown", content=b"40")).is_status(400)


@check("8.1", 'Another namespace is refused with a connect error `{"message": "Invalid namespace"}`.')
async def another_namespace_is_refused(probe: CheckProbe) -> None:
    raw = await probe.opened()
    await raw.send("40/admin,")
    frame = await raw.next("44/admin,")
    same(json.loads(frame.removeprefix("44/admin,")), {"message": "Invalid namespace"}, "the connect error")
    await raw.send(event("join", {"room": probe.room(), "token": (await probe.account()).token}))
    await raw.next('42["message-history"')


async def _chats(probe: CheckProbe, transport: str) -> None:
    room = probe.room()
    account = await probe.account()
    client = await probe.client(transport=transport)
    await probe.join(client, room, token=account.token, username=account.username)
    other = await probe.member(room, "Bob")
    await client.emit("send-message", {"message": f"over {transport}"})
    await client.text(f"over {transport}")
    await other.client.text(f"over {transport}")
    same(client.sio.transport(), transport, "the transport")


@check("8.1", "Polling and WebSocket each work alone.")
async def polling_works_alone(probe: CheckProbe) -> None:
    await _chats(probe, "polling")


@check("8.1", "Polling and WebSocket each work alone.")
async def websocket_works_alone(probe: CheckProbe) -> None:
    await _chats(probe, "websocket")


@check("8.1", "A polling connection can be upgraded to WebSocket.")
async def polling_is_upgraded_to_websocket(probe: CheckProbe) -> None:
    sid = str((await _handshake(probe))["sid"])
    (await probe.http.post(f"{_POLL}&sid={sid}", content=b"40")).is_status(200)
    text = (await probe.http.get(f"{_POLL}&sid={sid}")).is_status(200).text
    true(text.startswith("40{"), f"CONNECT over polling was answered with {text[:40]!r}")
    raw = await probe.raw(f"EIO=4&transport=websocket&sid={sid}")
    await raw.send("2probe")
    same(await raw.next("3"), "3probe", "the answer to the probe")
    await raw.send("5", event("join", {"room": probe.room(), "token": (await probe.account()).token}))
    await raw.next('42["message-history"')


@check("8.1", "Connecting needs no credentials.")
async def connecting_needs_no_credentials(probe: CheckProbe) -> None:
    await probe.opened()


@check("8.1", "A malformed packet closes the connection.")
async def a_malformed_packet_closes_the_connection(probe: CheckProbe) -> None:
    for frame in ("42[", "4Z", "x"):
        raw = await probe.opened()
        await raw.send(frame)
        await raw.ended()


@check(
    "8.2",
    "What one socket sends is processed in the order of arrival: `join` directly followed by `send-message` works.",
)
async def a_message_may_follow_the_join_directly(probe: CheckProbe) -> None:
    account = await probe.account()
    for _ in range(5):
        room = probe.room()
        raw = await probe.opened()
        join = {"room": room, "token": account.token, "username": account.username}
        await raw.send(event("join", join), event("send-message", {"message": "at once"}))
        await raw.next('42["receive-message"')
        same(await probe.texts(room), ["at once"], "the room's messages")


@check("8.2", "A burst of messages is stored and broadcast in the order in which it was sent.")
async def a_burst_keeps_its_order(probe: CheckProbe) -> None:
    sender, watcher = await probe.members("Ann", "Bob")
    texts = [f"burst {number}" for number in range(60)]
    for text in texts:
        await sender.client.emit("send-message", {"message": text})
    await watcher.client.want("receive-message", len(texts))
    same(watcher.client.texts(), texts, "the order of arrival")
    same(await probe.texts(sender.room), texts, "the order in the store")


@check("8.5", "Joining another room ends the session in the first one, with everything that §9.9 says.")
async def another_room_ends_the_first_session(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    await probe.join(member.client, probe.room(), token=member.account.token, username=member.account.username)
    left = await watcher.client.want("user-left")
    same(left["userId"], member.user_id, "userId of user-left")
    await watcher.client.list_of(1)
    await watcher.says("only for the first room")
    await probe.settle(member)
    same(member.client.texts(), [], "what the client that left received from the first room")


@check(
    "8.5", "Joining the same room again keeps one session, and answers with `room-users` and `message-history` again."
)
async def the_same_room_again_keeps_one_session(probe: CheckProbe) -> None:
    member = await probe.member()
    lists = len(member.client.all("room-users"))
    await probe.join(member.client, member.room, token=member.account.token, username=member.account.username)
    await member.client.want("room-users", lists + 1)
    same(len(await member.client.list_of(1)), 1, "the number of elements")
    same(len(member.client.all("message-history")), 2, "the number of histories")
    same((await probe.stats(member.room))["activeUsers"], 1, "activeUsers")


async def _nothing_comes(client: Client, probe: CheckProbe) -> None:
    await probe.settle(await probe.member(name="Watcher"))
    same(client.names(), [], "the events that came")


@check("8.6", "Events from a socket without a session, `join` excepted, are ignored silently.")
async def events_without_a_session_are_ignored(probe: CheckProbe) -> None:
    client = await probe.client()
    room = probe.room()
    await client.emit("send-message", {"message": "from outside", "room": room})
    await client.emit("typing", True)
    await client.emit("mark-all-read", {"room": room})
    await client.emit("update-online-status", {"online": True})
    await client.emit("leave-room")
    await _nothing_comes(client, probe)
    same(await probe.messages(room), [], "the room's messages")


@check("8.6", "Unknown events are ignored too.")
async def unknown_events_are_ignored(probe: CheckProbe) -> None:
    client = await probe.client()
    await client.emit("no-such-event", {"room": "general"})
    await client.emit("add-reaction", {"messageId": "x"})
    await _nothing_comes(client, probe)
    member = await probe.member()
    await member.client.emit("no-such-event")
    await member.says("still here")
