"""The minimum cost of fan-out with one write per message: a frame is built once and sent to one client after another.

Run as ``python -m chatsys.lab.peers.plain PORT``. It implements only the parts of WebSocket and Socket.IO that the
clients of the lab need.
"""

from __future__ import annotations

import selectors
import socket
import sys
from collections import defaultdict
from collections.abc import Callable

import msgspec
from websockets.utils import accept_key

from chatsys.lab.subjects.reference import message_of
from chatsys.protocol.frames import TEXT, FrameReader, frame

_LARGEST, _FRAMES = 1_000_000, 1_000_000  # bytes of a message, frames per read: more than the lab's clients send
_OPENING = b'0{"sid":"plain","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
_BACKLOG = 1_024


class _Client:
    """A connection: the bytes of its handshake, then its frames, and its room."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.data = b""
        self.upgraded = False
        self.frames = FrameReader(_LARGEST, 1)
        self.room = ""


class _PlainServer:
    def __init__(self, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._rooms: defaultdict[str, list[Callable[[bytes], int]]] = defaultdict(list)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._connections = 0

    def serve(self) -> None:
        """Serve until the process is ended."""
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
        if not client.upgraded:
            piece = self._upgrade(client, piece)
        for text in client.frames.read(piece, _FRAMES):
            if isinstance(text, str):
                self._handle(client, text)

    def _upgrade(self, client: _Client, piece: bytes) -> bytes:
        """Answer the handshake once it is complete. Returns the bytes that followed it."""
        client.data += piece
        head, end, rest = client.data.partition(b"\r\n\r\n")
        if not end:
            return b""
        lines = head.decode("latin-1").split("\r\n")
        key = next(line.split(":")[1].strip() for line in lines if line.lower().startswith("sec-websocket-key"))
        client.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n" + frame(TEXT, _OPENING)
        )
        client.upgraded = True
        return rest

    def _handle(self, client: _Client, text: str) -> None:
        if text == "40":
            client.sock.sendall(frame(TEXT, b'40{"sid":"plain-%d"}' % client.number))
        elif text.startswith('42["join"'):
            client.room = msgspec.json.decode(text[2:])[1]["room"]
            self._rooms[client.room].append(client.sock.send)
            client.sock.sendall(frame(TEXT, b'42["message-history",[]]'))
        elif text.startswith('42["send-message"'):
            message = msgspec.json.decode(text[2:])[1]["message"]
            self._numbers[client.room] += 1
            user_id = f"guest-plain-{client.number}"
            posted = message_of(self._numbers[client.room], user_id, message, client.room)
            made = frame(TEXT, b"42" + msgspec.json.encode(["receive-message", posted]))
            for send in self._rooms[client.room]:
                send(made)


if __name__ == "__main__":
    _PlainServer(int(sys.argv[1])).serve()
