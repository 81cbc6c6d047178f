"""Faults by one hostile client: floods of frames and events, unfinished requests, logins, an expensive receipt.

A flooding client runs in its own process. In this process it would delay the traffic and the proxies, and so distort
the latencies that are judged.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from chatsys.client.asynchronous import AsyncClient, connected
from chatsys.client.errors import SocketIOError
from chatsys.lab.clients.sockets import event_frame
from chatsys.lab.faults.fault import UNNOTICED, Concern, Context, fault
from chatsys.lab.workloads.floods import FLOODS, HALF_POSTS, Flood, hold_half_posts, hold_open, write_flood

SECONDS = 2.0
STORM_SECONDS = 3.0
LOGINS_A_SECOND = 300
_MESSAGES = Flood("messages", lambda _: event_frame("send-message", {"message": "x" * 100}))


async def _flood(context: Context, name: str) -> None:
    """Write as fast as one socket allows, in a separate room."""
    url = context.random_server().address()
    await context.site.in_process(_write, url, name, f"flood {secrets.token_hex(4)}")


def _write(url: str, name: str, room: str) -> None:
    write_flood(url, FLOODS.get(name, _MESSAGES), room, SECONDS)


for _name in FLOODS:
    fault(f"flood: {_name}", Concern.CLIENT, UNNOTICED, seconds=SECONDS)(partial(_flood, name=_name))
fault("flood: its own room", Concern.ROOM, UNNOTICED, seconds=SECONDS)(partial(_flood, name=_MESSAGES.name))


@fault(HALF_POSTS, Concern.CLIENT, UNNOTICED, seconds=SECONDS + 1)
async def half_posts(context: Context) -> None:
    """Send 90,000 of 100,000 bytes of each request body."""
    await context.site.in_process(hold_half_posts, context.random_server().address(), SECONDS)


@fault("200 half-sent heads", Concern.CLIENT, UNNOTICED, seconds=SECONDS)
async def half_heads(context: Context) -> None:
    """Send a request line and half a header on each connection."""
    url = context.random_server().address()
    await context.site.in_process(hold_open, url, b"GET /api/rooms HTTP/1.1\r\nHos", SECONDS)


@fault("20 sockets with nine of ten attachments", Concern.CLIENT, UNNOTICED, seconds=SECONDS + 2)
async def attachments(context: Context) -> None:
    """Send nine attachments of 1 MB on each socket, and never the tenth."""
    await context.site.in_process(_attach, context.random_server().address())


def _attach(url: str) -> None:
    asyncio.run(_attach_to(url))


async def _attach_to(url: str) -> None:
    clients: list[AsyncClient] = []
    try:
        for _ in range(20):
            client = await connected(url)
            clients.append(client)
            with suppress(SocketIOError):
                client.send(b'4510-["x",{"_placeholder":true,"num":0}]', [b"x" * 1_000_000] * 9)
        await asyncio.sleep(SECONDS)
    finally:
        for client in clients:
            client.abort()


@fault("login storm", Concern.CLIENT, UNNOTICED, seconds=STORM_SECONDS)
async def login_storm(context: Context) -> None:
    """Send 300 logins a second from one address, without waiting for answers."""
    await context.site.in_process(_log_in, context.random_server().address())


def _log_in(url: str) -> None:
    """Send each login on a new connection, and close it at once."""
    parts = urlsplit(url)
    due = time.monotonic()
    end = due + STORM_SECONDS
    while time.monotonic() < end:
        body = f'{{"username":"nobody{secrets.token_hex(4)}","password":"wrong password"}}'
        head = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        with suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=STORM_SECONDS) as sock:
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        due += 1 / LOGINS_A_SECOND
        time.sleep(max(0.0, due - time.monotonic()))


_FILL = """
WITH room AS (
    INSERT INTO rooms (room_name, last_seq) VALUES (%s, %s) RETURNING room_id
)
INSERT INTO messages (guest_id, guest_name, room_id, message_text, created_at, seq)
SELECT 'filler', 'filler', room_id, 'message ' || i, now(), i FROM room, generate_series(1, %s) i
"""
MANY = 300_000


@fault("mark-all-read of 300,000 messages", Concern.ROOM, UNNOTICED, seconds=30)
async def mark_all_read(context: Context) -> None:
    """Mark a room of 300,000 messages as read, as a new guest."""
    room = f"full {secrets.token_hex(4)}"
    await context.site.sql(_FILL, room, MANY, MANY)
    reader = await connected(context.random_server().address())
    await reader.call("join", {"room": room, "username": "reader"})
    with suppress(SocketIOError):
        await reader.call("mark-all-read", {"room": room}, timeout=60)
    reader.abort()
