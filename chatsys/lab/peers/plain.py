"""What fan-out costs at least with a write for each message: a frame is made once, and sent to one after another.

Run as ``python -m chatsys.lab.peers.plain PORT``. It knows of WebSockets and Socket.IO only what a crowd needs.
"""

from __future__ import annotations

import selectors
import socket
import sys
from collections import defaultdict
from collections.abc import Callable

import msgspec
from websockets.utils import accept_key

from chatsys.protocol.frames import frame

_TEXT = 1
_OPENING = b'0{"sid":"plain","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
_BACKLOG = 1_024


class _Client:
    """A connection: what it has sent and is not a whole frame yet, and its room."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.data = b""
        self.upgraded = False
        self.room = ""


class _Plain:
    def __init__(self, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._rooms: defaultdict[str, list[Callable[[bytes], int]]] = defaultdict(list)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._connections = 0

    def serve(self) -> None:
        """For ever."""
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.data)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections += 1
        self._selector.register(sock, selectors.EVENT_READ, _Client(sock, self._connections))

    def _read(self, client: _Client) -> None:
        try:
            piece = client.sock.recv(65_536)
        except OSError:
            piece = b""
        if not piece:
            self._selector.unregister(client.sock)
            if client.room:
                self._rooms[client.room].remove(client.sock.send)
            client.sock.close()
            return
        client.data += piece
        if not client.upgraded and not self._upgrade(client):
            return
        while (text := _next_text(client)) is not None:
            self._handle(client, text)

    def _upgrade(self, client: _Client) -> bool:
        head, end, rest = client.data.partition(b"\r\n\r\n")
        if not end:
            return False
        lines = head.decode("latin-1").split("\r\n")
        key = next(line.split(":")[1].strip() for line in lines if line.lower().startswith("sec-websocket-key"))
        client.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n" + frame(_TEXT, _OPENING)
        )
        client.data, client.upgraded = rest, True
        return True

    def _handle(self, client: _Client, text: bytes) -> None:
        if text == b"40":
            client.sock.sendall(frame(_TEXT, b'40{"sid":"plain-%d"}' % client.number))
        elif text.startswith(b'42["join"'):
            client.room = msgspec.json.decode(text[2:])[1]["room"]
            self._rooms[client.room].append(client.sock.send)
            client.sock.sendall(frame(_TEXT, b'42["message-history",[]]'))
        elif text.startswith(b'42["send-message"'):
            message = msgspec.json.decode(text[2:])[1]["message"]
            self._numbers[client.room] += 1
            made = frame(_TEXT, b"42" + msgspec.json.encode(["receive-message", _message(self, client, message)]))
            for send in self._rooms[client.room]:
                send(made)

    def number_of(self, room: str) -> int:
        """The newest message of a room."""
        return self._numbers[room]


def _message(server: _Plain, client: _Client, text: str) -> dict[str, object]:
    number = server.number_of(client.room)
    return {
        "id": f"01900000-0000-7000-8000-{number:012d}",
        "seq": number,
        "username": "member 0",
        "displayName": "member 0",
        "avatar": "https://ui-avatars.com/api/?name=member%200&background=667eea&color=fff",
        "userId": f"guest-plain-{client.number}",
        "message": text,
        "room": client.room,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "delivered": False,
        "deliveredTo": [],
        "read": False,
        "readBy": [],
        "editedAt": None,
    }


def _next_text(client: _Client) -> bytes | None:
    """The next frame's payload, of a crowd's whose mask is zero; None if it is not there yet."""
    data = client.data
    if len(data) < 6:
        return None
    size, start = data[1] & 0x7F, 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    start += 4
    if len(data) < start + size:
        return None
    client.data = data[start + size :]
    return data[start : start + size]


if __name__ == "__main__":
    _Plain(int(sys.argv[1])).serve()
