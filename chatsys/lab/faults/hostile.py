"""One client does what it can: floods of frames and events, unfinished requests, logins, an expensive receipt."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import cycle
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException

from chatsys.lab.crowd.sockets import event_frame, text_frame
from chatsys.lab.faults.fault import UNNOTICED, Concern, Hit, fault
from chatsys.lab.faults.site import Server
from chatsys.lab.faults.socket import Lost, Socket

SECONDS = 4.0
_HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_EMPTY = b"\x00\x80\0\0\0\0"
_ONE_BYTE = b"\x00\x81\0\0\0\0x"
_PING = b"\x89\x80\0\0\0\0"


async def flood(server: Server, frames: Iterable[bytes], *, room: str = "", first: bytes = b"") -> None:
    """Write ``frames`` as fast as one socket can for ``SECONDS``, in a room of its own or in ``room``."""
    parts = urlsplit(server.address())
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    drain = asyncio.create_task(_throw_away(reader))
    room = room or f"flood {secrets.token_hex(4)}"
    try:
        writer.write(_HANDSHAKE.format(host=parts.hostname, port=parts.port).encode())
        await asyncio.sleep(0.05)
        writer.write(text_frame(b"40") + event_frame("join", {"room": room, "username": "flood"}) + first)
        await asyncio.sleep(0.1)
        async with asyncio.timeout(SECONDS):
            for piece in frames:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
    except (OSError, TimeoutError):
        pass  # the server may close it, and that is an answer
    finally:
        drain.cancel()
        writer.transport.abort()


async def _throw_away(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(65_536):
            pass


def _flood(name: str, piece: bytes, *, first: bytes = b"") -> None:
    """Enter a flood that repeats one piece."""

    @fault(f"flood: {name}", Concern.CLIENT, UNNOTICED, seconds=SECONDS)
    async def inject(hit: Hit) -> None:
        """As fast as one socket writes."""
        await flood(hit.rng.choice(hit.site.servers), cycle([piece]), first=first)


_START = b"\x01\x80\0\0\0\0"
_flood("empty continuations", _EMPTY * 2_000, first=_START)
_flood("one-byte continuations", _ONE_BYTE * 2_000, first=_START)
_flood("WebSocket pings", _PING * 2_000)
_flood("Engine.IO pongs", text_frame(b"3") * 2_000)
_flood("unknown events", text_frame(b'42["x"]') * 1_000)
_flood("typing", (text_frame(b'42["typing",true]') + text_frame(b'42["typing",false]')) * 500)
_flood("status", (text_frame(b'42["update-online-status",{"online":true}]')) * 500)
_flood("malformed packets", text_frame(b"4abc") * 2_000)
_flood("receipts of no message", event_frame("message-read", {"messageId": secrets.token_hex(16), "room": "x"}) * 500)


@fault("flood: joins and leaves", Concern.CLIENT, UNNOTICED, seconds=SECONDS)
async def joins_and_leaves(hit: Hit) -> None:
    """As fast as one socket can, in a room of its own."""
    room = f"revolving {secrets.token_hex(4)}"
    pair = event_frame("join", {"room": room, "username": "door"}) + text_frame(b'42["leave-room"]')
    await flood(hit.rng.choice(hit.site.servers), cycle([pair * 20]), room=room)


@fault("flood: its own room", Concern.ROOM, UNNOTICED, seconds=SECONDS)
async def messages(hit: Hit) -> None:
    """Messages as fast as one socket can."""
    await flood(hit.rng.choice(hit.site.servers), cycle([event_frame("send-message", {"message": "x" * 100}) * 50]))


async def _open_many(server: Server, count: int, head: bytes) -> None:
    """Open connections that begin with ``head`` and then say nothing."""
    parts = urlsplit(server.address())
    writers: list[asyncio.StreamWriter] = []
    try:
        for _ in range(count):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writers.append(writer)
            with suppress(OSError):
                writer.write(head)
                await writer.drain()
        await asyncio.sleep(SECONDS)
    finally:
        for writer in writers:
            writer.transport.abort()


@fault("200 half-sent POSTs", Concern.CLIENT, UNNOTICED, seconds=SECONDS + 1)
async def half_posts(hit: Hit) -> None:
    """90,000 of 100,000 bytes each."""
    head = (
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    )
    await _open_many(hit.rng.choice(hit.site.servers), 200, head + b"x" * 90_000)


@fault("200 half-sent heads", Concern.CLIENT, UNNOTICED, seconds=SECONDS)
async def half_heads(hit: Hit) -> None:
    """A request line and half a header."""
    await _open_many(hit.rng.choice(hit.site.servers), 200, b"GET /api/rooms HTTP/1.1\r\nHos")


@fault("20 sockets with nine of ten attachments", Concern.CLIENT, UNNOTICED, seconds=SECONDS + 2)
async def attachments(hit: Hit) -> None:
    """Nine of 1 MB each, and the last never comes."""
    sockets: list[Socket] = []
    server = hit.rng.choice(hit.site.servers)
    try:
        for _ in range(20):
            socket = await Socket.open(server.address(), lambda _event, _payload: None)
            sockets.append(socket)
            with suppress(Lost, WebSocketException):
                await socket.send('4510-["x",{"_placeholder":true,"num":0}]')
                for _ in range(9):
                    await socket.send(b"x" * 1_000_000)
        await asyncio.sleep(SECONDS)
    finally:
        for socket in sockets:
            await socket.close()


async def _storm(server: Server, seconds: float, each: Callable[[], bytes], rate: float) -> None:
    """Requests at a rate, each on a connection of its own that is closed at once."""
    parts = urlsplit(server.address())
    loop = asyncio.get_running_loop()
    end, due = loop.time() + seconds, loop.time()
    while loop.time() < end:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(each())
            writer.close()
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - loop.time()))


@fault("login storm", Concern.CLIENT, UNNOTICED, seconds=6)
async def login_storm(hit: Hit) -> None:
    """300 logins a second from one address; nobody waits for the answer."""

    def login() -> bytes:
        body = f'{{"username":"nobody{secrets.token_hex(4)}","password":"wrong password"}}'
        head = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    await _storm(hit.rng.choice(hit.site.servers), 5, login, 300)


_FILL = """
WITH room AS (
    INSERT INTO rooms (room_name, last_seq) VALUES (%s, %s) RETURNING room_id
)
INSERT INTO messages (guest_id, guest_name, room_id, message_text, created_at, seq)
SELECT 'filler', 'filler', room_id, 'message ' || i, now(), i FROM room, generate_series(1, %s) i
"""
MANY = 300_000


@fault("mark-all-read of 300,000 messages", Concern.ROOM, UNNOTICED, seconds=30)
async def mark_all_read(hit: Hit) -> None:
    """A new guest in a full room."""
    room = f"full {secrets.token_hex(4)}"
    await hit.site.sql(_FILL, room, MANY, MANY)
    socket = await Socket.open(hit.rng.choice(hit.site.servers).address(), lambda _event, _payload: None)
    await socket.call("join", {"room": room, "username": "reader"})
    with suppress(TimeoutError, Lost):
        await socket.call("mark-all-read", {"room": room}, timeout=60)
    await socket.close()
