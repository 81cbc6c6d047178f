"""One client does what it can: floods of frames and events, unfinished requests, logins, an expensive receipt."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from chatsys.client.asynchronous import AsyncClient, connected
from chatsys.client.errors import SocketIOError
from chatsys.lab.clients.sockets import event_frame
from chatsys.lab.faults.fault import UNNOTICED, Concern, Hit, fault
from chatsys.lab.faults.site import SiteServer
from chatsys.lab.workloads.floods import FLOODS, HALF_POSTS, Flood, hold_half_posts, hold_open, write_flood

SECONDS = 2.0


def _flood(flood: Flood) -> None:
    """Enter a flood as a fault."""

    @fault(f"flood: {flood.name}", Concern.CLIENT, UNNOTICED, seconds=SECONDS)
    async def inject(hit: Hit) -> None:
        """As fast as one socket writes, in a room of its own."""
        url = hit.rng.choice(hit.site.servers).address()
        await asyncio.to_thread(write_flood, url, flood, f"flood {secrets.token_hex(4)}", SECONDS)


for _each in FLOODS.values():
    _flood(_each)


@fault("flood: its own room", Concern.ROOM, UNNOTICED, seconds=SECONDS)
async def messages(hit: Hit) -> None:
    """Messages as fast as one socket can."""
    flood = Flood("messages", lambda _: event_frame("send-message", {"message": "x" * 100}))
    url = hit.rng.choice(hit.site.servers).address()
    await asyncio.to_thread(write_flood, url, flood, f"flood {secrets.token_hex(4)}", SECONDS)


@fault(HALF_POSTS, Concern.CLIENT, UNNOTICED, seconds=SECONDS + 1)
async def half_posts(hit: Hit) -> None:
    """90,000 of 100,000 bytes each."""
    await asyncio.to_thread(hold_half_posts, hit.rng.choice(hit.site.servers).address(), SECONDS)


@fault("200 half-sent heads", Concern.CLIENT, UNNOTICED, seconds=SECONDS)
async def half_heads(hit: Hit) -> None:
    """A request line and half a header."""
    url = hit.rng.choice(hit.site.servers).address()
    await asyncio.to_thread(hold_open, url, b"GET /api/rooms HTTP/1.1\r\nHos", SECONDS)


@fault("20 sockets with nine of ten attachments", Concern.CLIENT, UNNOTICED, seconds=SECONDS + 2)
async def attachments(hit: Hit) -> None:
    """Nine of 1 MB each, and the last never comes."""
    sockets: list[AsyncClient] = []
    server = hit.rng.choice(hit.site.servers)
    try:
        for _ in range(20):
            socket = await connected(server.address())
            sockets.append(socket)
            with suppress(SocketIOError):
                socket.send(b'4510-["x",{"_placeholder":true,"num":0}]', [b"x" * 1_000_000] * 9)
        await asyncio.sleep(SECONDS)
    finally:
        for socket in sockets:
            socket.abort()


async def _storm(server: SiteServer, seconds: float, each: Callable[[], bytes], rate: float) -> None:
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


@fault("login storm", Concern.CLIENT, UNNOTICED, seconds=3)
async def login_storm(hit: Hit) -> None:
    """300 logins a second from one address; nobody waits for the answer."""

    def login() -> bytes:
        body = f'{{"username":"nobody{secrets.token_hex(4)}","password":"wrong password"}}'
        head = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    await _storm(hit.rng.choice(hit.site.servers), 3, login, 300)


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
    socket = await connected(hit.rng.choice(hit.site.servers).address())
    await socket.call("join", {"room": room, "username": "reader"})
    with suppress(SocketIOError):
        await socket.call("mark-all-read", {"room": room}, timeout=60)
    socket.abort()
