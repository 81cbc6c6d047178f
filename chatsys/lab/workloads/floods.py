"""Floods, and the client that sends them. The fault injection and an experiment use them.

One socket writes a flood as fast as the server accepts it. When the server closes the connection, a new one starts.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from chatsys.lab.clients.sockets import event_frame, text_frame, upgraded

HALF_POSTS = "200 half-sent POSTs"
_PIECE = 16_384  # approximate bytes per write
_PATIENCE = 5.0  # seconds to connect
_START = b"\x01\x80\0\0\0\0"
_EMPTY = b"\x00\x80\0\0\0\0"
_ONE_BYTE = b"\x00\x81\0\0\0\0x"
_PING = b"\x89\x80\0\0\0\0"
_NO_MESSAGE = "0" * 32


class Flood(NamedTuple):
    """``frames`` maps a room's name to the bytes that a member of the room repeats. ``first`` is sent once before."""

    name: str
    frames: Callable[[str], bytes]
    first: bytes = b""


class Flooded(msgspec.Struct, frozen=True):
    """The bytes that a flood has sent, and the number of connections that it used."""

    sent: int
    connections: int


def _join(room: str) -> bytes:
    return event_frame("join", {"room": room, "username": "flood"})


def _receipt(room: str) -> bytes:
    return event_frame("message-read", {"messageId": _NO_MESSAGE, "room": room})


FLOODS = {
    flood.name: flood
    for flood in (
        Flood("empty continuations", lambda _: _EMPTY, _START),
        Flood("one-byte continuations", lambda _: _ONE_BYTE, _START),
        Flood("WebSocket pings", lambda _: _PING),
        Flood("Engine.IO pongs", lambda _: text_frame(b"3")),
        Flood("unknown events", lambda _: text_frame(b'42["x"]')),
        Flood("malformed packets", lambda _: text_frame(b"4abc")),
        Flood("typing", lambda _: text_frame(b'42["typing",true]') + text_frame(b'42["typing",false]')),
        Flood("status", lambda _: text_frame(b'42["update-online-status",{"online":true}]')),
        Flood("receipts", _receipt),
        Flood("joins and leaves", lambda room: text_frame(b'42["leave-room"]') + _join(room)),
    )
}
"""The floods by name."""


def write_flood(url: str, flood: Flood, room: str, seconds: float) -> Flooded:
    """Join ``room`` and write a flood for ``seconds``."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    frames = flood.frames(room)
    piece = frames * max(1, _PIECE // len(frames))
    first = text_frame(b"40") + _join(room) + flood.first
    end = time.monotonic() + seconds
    sent = connections = 0
    while time.monotonic() < end:
        with suppress(OSError), upgraded(address, _PATIENCE)[0] as sock:  # the server may close it
            connections += 1
            sock.sendall(first)
            sock.setblocking(False)
            for size in _written(sock, piece, end):
                sent += size
    return Flooded(sent, connections)


def _written(sock: socket.socket, piece: bytes, end: float) -> Iterator[int]:
    """Write ``piece`` repeatedly until ``end``, and yield the bytes of each write. Received data is discarded."""
    view, at, readers = memoryview(piece), 0, [sock]
    while (left := end - time.monotonic()) > 0:
        readable, writable, _ = select.select(readers, [sock], [], left)
        if readable and not sock.recv(65_536):
            readers = []  # the server has ended its direction, but it may still read
        if writable:
            size = sock.send(view[at:])
            at = (at + size) % len(piece)
            yield size


def hold_half_posts(url: str, seconds: float, count: int = 200) -> Flooded:
    """Start ``count`` POSTs, send 90,000 of the 100,000 bytes of each, and hold them open for ``seconds``."""
    head = (
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    )
    return hold_open(url, head + b"x" * 90_000, seconds, count)


def hold_open(url: str, beginning: bytes, seconds: float, count: int = 200) -> Flooded:
    """Open ``count`` connections, send ``beginning`` on each, and hold them open, for ``seconds`` in total."""
    parts = urlsplit(url)
    end = time.monotonic() + seconds
    sent = opened = 0
    with ExitStack() as stack:
        while opened < count and time.monotonic() < end:
            sock = stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE))
            opened += 1
            with suppress(OSError):
                sock.sendall(beginning)
                sent += len(beginning)
        time.sleep(max(0.0, end - time.monotonic()))
    return Flooded(sent, opened)
