"""The protocol below the chat: handshake, transports, namespaces, CORS and unusual packets (§8.1)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import httpx
import pytest
import websockets

from .clients import WAIT, event, fresh, http_client
from .conftest import Connect, Server

WEBSOCKET_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Raw:
    """A bare WebSocket that has connected to the namespace and, with a room, has joined it."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def until(self, start: str) -> str:
        """Return the next packet that begins with ``start``; answer pings and skip other packets."""
        async with asyncio.timeout(WAIT):
            while True:
                packet = await self.socket.recv()
                assert isinstance(packet, str)
                if packet == "2":
                    await self.socket.send("3")
                if packet.startswith(start):
                    return packet

    async def closed(self) -> None:
        """Read until the server has closed the connection."""
        async with asyncio.timeout(WAIT):
            async for packet in self.socket:
                assert packet

    async def answers(self) -> bool:
        """Return whether the server still handles this socket's events."""
        await self.socket.send(event("typing", True, ack=7777))
        return (await self.until("437777")).startswith("437777[{")


async def raw(server: Server, room: str | None = None) -> Raw:
    client = Raw(await websockets.connect(server.websocket_url, max_size=None, compression=None))
    await client.until("0{")
    await client.socket.send("40")
    await client.until("40{")
    if room is not None:
        await client.socket.send(event("join", {"room": room, "username": fresh("g")}, ack=1))
        await client.until("431[")
    return client


async def poll(http: httpx.AsyncClient, sid: str) -> str:
    return (await http.get("/socket.io/", params={"EIO": "4", "transport": "polling", "sid": sid})).text


async def post(http: httpx.AsyncClient, sid: str, body: str | bytes) -> httpx.Response:
    params = {"EIO": "4", "transport": "polling", "sid": sid}
    return await http.post("/socket.io/", params=params, content=body)


async def open_polling(http: httpx.AsyncClient) -> str:
    answer = await http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
    assert answer.status_code == 200
    return str(json.loads(answer.text[1:])["sid"])


async def test_handshake_announces_the_documented_values(server: Server) -> None:
    async with http_client(server.url) as http:
        answer = await http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
    handshake = json.loads(answer.text[1:])
    assert answer.text[0] == "0"
    assert set(handshake) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert handshake["upgrades"] == ["websocket"]
    assert (handshake["pingInterval"], handshake["pingTimeout"], handshake["maxPayload"]) == (25000, 20000, 1000000)


@pytest.mark.parametrize(
    "query",
    [
        "EIO=4&transport=polling&sid=unknown",
        "EIO=4&transport=carrier-pigeon",
        "EIO=3&transport=polling",
        "transport=polling",
        "EIO=4&transport=websocket",
        "EIO=4&transport=polling&sid=%00%ff",
        "EIO=4&transport=polling&j=x",
    ],
)
async def test_unknown_session_transport_or_version_is_a_bad_request(server: Server, query: str) -> None:
    async with http_client(server.url) as http:
        assert (await http.get(f"/socket.io/?{query}")).status_code == 400


@pytest.mark.parametrize("query", ["EIO=4&transport=websocket&sid=unknown", "EIO=4&transport=polling&sid=unknown"])
async def test_websocket_to_an_unknown_session_is_a_bad_request(server: Server, query: str) -> None:
    async with http_client(server.url) as http:
        assert (await http.get(f"/socket.io/?{query}", headers=WEBSOCKET_UPGRADE)).status_code == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_bad_requests(server: Server, method: str) -> None:
    async with http_client(server.url) as http:
        assert (await http.request(method, "/socket.io/?EIO=4&transport=polling")).status_code == 400


async def test_every_answer_carries_the_origin_rule(server: Server) -> None:
    origin = {"Origin": "https://chat.example.org"}
    async with http_client(server.url, headers=origin) as http:
        for query in ("EIO=4&transport=polling", "EIO=4&transport=polling&sid=unknown"):
            answer = await http.get(f"/socket.io/?{query}")
            assert answer.headers["access-control-allow-origin"] in {"*", origin["Origin"]}
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,authorization"}
        preflight = await http.options("/socket.io/?EIO=4&transport=polling", headers=ask)
        assert preflight.status_code in {200, 204}
        assert preflight.headers["access-control-allow-origin"] in {"*", origin["Origin"]}
        assert {"GET", "POST"} <= {
            part.strip() for part in preflight.headers["access-control-allow-methods"].split(",")
        }
        assert "authorization" in preflight.headers["access-control-allow-headers"]


async def test_another_namespace_is_refused_and_the_connection_stays(server: Server) -> None:
    client = await raw(server)
    await client.socket.send("40/admin,")
    assert (await client.until("44")).startswith("44/admin,")
    await client.socket.send('42/admin,["join",{"room":"general"}]')
    await client.socket.send(event("join", {"room": "general", "username": "Ann"}, ack=5))
    assert '"success":true' in await client.until("435[")
    await client.socket.close()


async def test_session_may_leave_the_namespace_and_return(server: Server, connect: Connect, room: str) -> None:
    watcher = await connect(room=room)
    client = await raw(server, room)
    await client.socket.send("41")
    await watcher.want("user-left")
    await client.socket.send(event("send-message", {"message": "from outside"}))
    await client.socket.send("40")
    await client.until("40{")
    await client.socket.send(event("join", {"room": room, "username": "Ann"}, ack=2))
    assert '"success":true' in await client.until("432[")
    assert watcher.texts() == []
    await client.socket.close()


NOTHING: list[Any] = [
    *[[payload] for payload in (None, True, 0, 1.5, 10**30, "", " \t\n", "text", [], [[[]]], {}, {"message": None})],
    *[[{"message": text}] for text in ("", "   ", "\n\u00a0\u2003", "a\0b", 5, True, ["x"], {"x": "y"})],
    [],
]


@pytest.mark.parametrize("arguments", NOTHING, ids=lambda value: json.dumps(value)[:30])
async def test_message_without_text_is_dropped_with_an_error_to_its_sender(
    server: Server, connect: Connect, room: str, arguments: list[Any]
) -> None:
    watcher = await connect(room=room)
    client = await raw(server, room)
    await client.socket.send(event("send-message", *arguments))
    assert json.loads((await client.until('42["error"'))[2:])[1]["message"]
    assert await client.answers()
    assert not {"receive-message", "error"} & set(watcher.names())
    await client.socket.close()


@pytest.mark.parametrize(
    "payload",
    [
        None,
        5,
        "general",
        [],
        {},
        {"room": None, "username": "Ann"},
        {"room": 5, "username": "Ann"},
        {"room": "", "username": "Ann"},
        {"room": "  ", "username": "Ann"},
        {"room": "x" * 101, "username": "Ann"},
        {"room": "a\0b", "username": "Ann"},
        {"room": "general"},
        {"room": "general", "username": ""},
        {"room": "general", "username": " "},
        {"room": "general", "username": 7},
        {"room": "general", "username": "x" * 51},
        {"room": "general", "username": "Ann", "since": "soon"},
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_malformed_join_is_refused_and_the_connection_stays_usable(server: Server, payload: Any) -> None:
    client = await raw(server)
    await client.socket.send(event("join", payload, ack=1))
    assert json.loads((await client.until('42["error"'))[2:])[1] == {"message": "Failed to join room"}
    answer = json.loads((await client.until("431["))[3:])[0]
    assert (answer["success"], answer["code"]) == (False, "join_refused")
    await client.socket.send(event("join", {"room": "general", "username": "Ann"}, ack=2))
    assert '"success":true' in await client.until("432[")
    await client.socket.close()


MALFORMED = [
    "4",
    "42",
    "42{}",
    "42[]",
    "42[5]",
    "42[null,1]",
    '42["send-message"',
    "42" + "[" * 100_000,
    '42["send-message",' + "[" * 50_000 + "]" * 50_000 + "]",
    '42["typing",' + "9" * 5000 + "]",
    "42" + "9" * 200 + '["typing",true]',
    '42["connect"]',
    '42["disconnect","x"]',
    '42["__class__",{}]',
    "43[]",
    '4312["x"]',
    "44",
    "45",
    "451-",
    '451-["send-message",{"_placeholder":true,"num":5}]',
    '459999999999-["send-message"]',
    '4511-["send-message",{"_placeholder":true,"num":0}]',
    "46",
    "47",
    "49x",
    "4x",
    "5",
    "6",
    "7",
    "9",
    "b",
    "x",
    "2probe",
    "3",
    '42["send-message",{"message":NaN}]',
    '42/nowhere,["join",{}]',
]


@pytest.mark.parametrize("packet", MALFORMED, ids=lambda text: text[:24])
async def test_malformed_packet_does_not_affect_others(
    server: Server, connect: Connect, room: str, packet: str
) -> None:
    watcher = await connect(room=room)
    client = await raw(server, room)
    await client.socket.send(packet)
    await client.socket.send(b"\x00\xff")
    try:
        alive = await client.answers()
    except websockets.ConnectionClosed:
        alive = False
    other = await raw(server, room)
    assert await other.answers()
    assert alive or watcher.sio.connected
    await watcher.settle()
    assert "receive-message" not in watcher.names()
    await client.socket.close()
    await other.socket.close()


async def test_binary_payload_is_dropped_like_any_other_wrong_type(server: Server, connect: Connect, room: str) -> None:
    watcher = await connect(room=room)
    sender = await connect(room=room)
    await sender.emit("send-message", {"message": b"\x00\x01"})
    await sender.emit("send-message", b"\x00\x01")
    await sender.want("error", 2)
    await sender.emit("typing", b"\x01")
    assert (await watcher.want("user-typing"))["isTyping"] is True
    assert not (await sender.call("join", b"\x00"))["success"]
    assert watcher.texts() == []


async def test_lone_surrogate_becomes_the_replacement_character(server: Server, connect: Connect, room: str) -> None:
    watcher = await connect(room=room)
    client = await raw(server, room)
    await client.socket.send('42["send-message",{"message":"a\\ud800b"}]')
    assert (await watcher.want("receive-message"))["message"] == "a\ufffdb"
    await client.socket.close()


async def test_largest_packet_is_delivered_and_a_larger_one_disconnects(
    server: Server, connect: Connect, room: str
) -> None:
    watcher = await connect(room=room)
    client = await raw(server, room)
    frame = event("send-message", {"message": ""})
    text = "x" * (1_000_000 - len(frame))
    await client.socket.send(event("send-message", {"message": text}))
    assert (await watcher.want("receive-message"))["message"] == text
    # send only the head: the server refuses before it has the rest, and data in flight could reset the connection
    client.socket.transport.write(bytes([0x81, 0xFF]) + (1_000_001).to_bytes(8, "big") + bytes(4))
    with contextlib.suppress(websockets.ConnectionClosedError):
        await client.closed()
    assert client.socket.close_code == 1009
    assert client.socket.close_reason == "a packet may have 1000000 bytes"
    await watcher.want("user-left")
    await watcher.settle()
    assert len(watcher.texts()) == 1


async def test_post_of_many_packets_is_accepted_up_to_the_allowed_size(
    server: Server, connect: Connect, room: str
) -> None:
    watcher = await connect(room=room)
    async with http_client(server.url) as http:
        sid = await open_polling(http)
        assert (await post(http, sid, "40")).status_code == 200
        assert (await poll(http, sid)).startswith("40{")
        packets = [event("join", {"room": room, "username": "Ann"})]
        packets += [event("send-message", {"message": f"{number}"}) for number in range(100)]
        assert (await post(http, sid, "\x1e".join(packets))).status_code == 200
        await watcher.want("receive-message", 100)
        assert watcher.texts() == [f"{number}" for number in range(100)]
        assert (await post(http, sid, "4" + "x" * 1_000_000)).status_code == 400
        await watcher.want("user-left")
        assert (await http.get(f"/socket.io/?EIO=4&transport=polling&sid={sid}")).status_code == 400


@pytest.mark.parametrize("body", [b"\xff\xfe", b"", b"d=", b"\x1e\x1e", b"b!!!", b"4" + b"[" * 200_000, b"x"])
async def test_malformed_post_is_answered_and_the_server_survives(server: Server, body: bytes) -> None:
    async with http_client(server.url) as http:
        sid = await open_polling(http)
        assert (await post(http, sid, body)).status_code in {200, 400}
        assert (await http.get("/api/health")).status_code == 200


@pytest.mark.parametrize(
    "frames",
    [
        bytes([0x81, 0x01, 0x32]),  # not masked
        bytes([0xC1, 0x80, 0, 0, 0, 0]),  # a reserved bit is set
        bytes([0x83, 0x80, 0, 0, 0, 0]),  # an unknown opcode
        bytes([0x80, 0x80, 0, 0, 0, 0]),  # a continuation without a first frame
        bytes([0x09, 0x80, 0, 0, 0, 0]),  # a fragmented ping
        bytes([0x89, 0xFE, 0, 126, 0, 0, 0, 0]) + bytes(126),  # a ping that is too long
        bytes([0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28]),  # a text that is not UTF-8
        bytes([0x81, 0xFF]) + (2**62).to_bytes(8, "big") + bytes(4),  # an impossible length
    ],
)
async def test_broken_frame_closes_its_connection_with_a_reason(server: Server, frames: bytes, room: str) -> None:
    client = await raw(server, room)
    client.socket.transport.write(frames)
    with contextlib.suppress(websockets.ConnectionClosedError):
        await client.closed()
    assert client.socket.close_code in {1002, 1007, 1009}
    assert client.socket.close_reason
    other = await raw(server, room)
    assert await other.answers()
    await other.socket.close()


async def test_fragments_make_one_message_and_pings_between_are_answered(
    server: Server, connect: Connect, room: str
) -> None:
    watcher = await connect(room=room)
    client = await raw(server, room)
    text = event("send-message", {"message": "in pieces: 日本"})
    await client.socket.send([text[:5], text[5:9], text[9:]])
    for byte in bytes([0x89, 0x82, 0, 0, 0, 0]) + b"hi":
        client.socket.transport.write(bytes([byte]))
        await asyncio.sleep(0)
    assert await client.answers()
    assert (await watcher.want("receive-message"))["message"] == "in pieces: 日本"
    await asyncio.wait_for(await client.socket.ping(), WAIT)
    await client.socket.close()
    assert client.socket.close_code == 1000


async def test_abandoned_upgrade_leaves_the_client_polling(server: Server, connect: Connect, room: str) -> None:
    watcher = await connect(room=room)
    async with http_client(server.url) as http:
        sid = await open_polling(http)
        await post(http, sid, "40")
        await poll(http, sid)
        probe = await websockets.connect(f"{server.websocket_url}&sid={sid}")
        await probe.send("2probe")
        assert await probe.recv() == "3probe"
        assert await poll(http, sid) == "6"
        await post(http, sid, event("join", {"room": room, "username": "Ann"}))
        await watcher.want("user-joined")
        await probe.close()
        packets: list[str] = []
        while not any('"message-history"' in packet for packet in packets):
            packets += (await poll(http, sid)).split("\x1e")
        names = [json.loads(packet[2:])[0] for packet in packets if packet.startswith("42")]
        assert names == ["room-users", "message-history"]
