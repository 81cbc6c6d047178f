"""Engine.IO 4 over one WebSocket.

It costs no greenlet: the event loop calls back when its socket is readable, and the packet is handled there and then.
So what handles a packet must not wait; it may emit, set events and spawn.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

from gevent import socket, ssl
from gevent.hub import get_hub

from chatsys.loadtesting import frames
from chatsys.loadtesting.address import Address
from chatsys.loadtesting.packets import Hooks, Opened, TransportError, opened_by

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_READ = 65_536
_UNSENT_LIMIT = 4 * 1024 * 1024


class WebSocketTransport:
    """One WebSocket, read by the event loop itself."""

    __slots__ = (
        "_address", "_closed", "_hooks", "_readable", "_reader", "_receive", "_sock", "_unsent", "_waiting",
        "_writable",
    )  # fmt: skip

    def __init__(self, address: Address, hooks: Hooks) -> None:
        self._address = address
        self._hooks = hooks
        self._receive = hooks.received
        self._reader = frames.FrameReader()
        self._sock: socket.socket | None = None
        self._unsent = b""
        self._waiting: list[tuple[int, bytes]] = []
        self._closed = False
        self._readable: Any = None
        self._writable: Any = None

    def open(self, timeout: float) -> Opened:
        """Connect, upgrade and read the first packet. Raises TransportError."""
        opened = opened_by(self._first("", timeout))
        self.begin()
        return opened

    def probe(self, sid: str, timeout: float) -> None:
        """Connect to a session that is open already, and ask whether it can go on here. Raises TransportError."""
        answer = self._first(sid, timeout, frames.frame(b"2probe"))
        if answer != b"3probe":
            raise TransportError(f"upgrade: the answer to the probe is {answer[:40]!r}")

    def begin(self) -> None:
        """Read from now on as packets come."""
        self._sock.settimeout(0.0)
        loop = get_hub().loop
        self._readable = loop.io(self._sock.fileno(), 1)
        self._readable.start(self._on_readable)
        self._writable = loop.io(self._sock.fileno(), 2)
        waiting, self._waiting = self._waiting, []
        self._deliver(waiting)

    def send(self, packet: bytes) -> None:
        """Send one text packet; what the socket does not take now goes as soon as it does."""
        self._write(frames.frame(packet))

    def send_binary(self, data: bytes) -> None:
        """Send one binary message."""
        self._write(frames.frame(data, frames.BINARY))

    def close(self, farewell: bytes = b"") -> None:
        """Close the socket, after ``farewell`` and a closing frame if there is one. Idempotent."""
        if self._closed:
            return
        if farewell and self._sock is not None:
            self._write(frames.frame(farewell) + frames.frame((1000).to_bytes(2, "big"), frames.CLOSE))
        self._closed = True
        for watcher in (self._readable, self._writable):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        if self._sock is not None:
            self._sock.close()

    def _first(self, sid: str, timeout: float, question: bytes = b"") -> bytes:
        """Connect and upgrade, send ``question``, wait for the first message; more may be waiting then."""
        try:
            self._sock = self._address.connect(timeout)
            messages = self._reader.feed(self._upgrade(sid))
            if question:
                self._sock.sendall(question)
            while not messages:
                messages = self._reader.feed(self._some())
        except (OSError, frames.FrameError) as error:
            self.close()
            raise TransportError(f"connect: {error or type(error).__name__}") from error
        except BaseException:
            self.close()
            raise
        (_, first), *self._waiting = messages
        return first

    def _upgrade(self, sid: str) -> bytes:
        """Ask for a WebSocket; the bytes that came after the server's consent."""
        key = base64.b64encode(os.urandom(16))
        lines = [f"GET {self._address.target('websocket', sid)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._address.headers().items()]
        lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Key: {key.decode()}", "", ""]
        self._sock.sendall("\r\n".join(lines).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            if len(answer) > _READ:
                raise frames.FrameError("the answer to the upgrade has no end")
            answer += self._some()
        head, _, left = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        pairs = [(name.strip().lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)]
        self._address.learn(value for name, value in pairs if name == "set-cookie")
        if status.split(" ", 2)[1:2] != ["101"]:
            raise frames.FrameError(f"no upgrade: {status}")
        expected = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID, usedforsecurity=False).digest())
        if dict(pairs).get("sec-websocket-accept") != expected.decode():
            raise frames.FrameError("no upgrade: wrong Sec-WebSocket-Accept")
        return left

    def _some(self) -> bytes:
        data: bytes = self._sock.recv(_READ)
        if not data:
            raise ConnectionResetError("closed by the server")
        return data

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(_READ)
            if data:
                self._deliver(self._reader.feed(data))
                while not self._closed and isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
                    self._deliver(self._reader.feed(self._sock.recv(_READ)))
            else:
                self._fail("closed by the server")
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except (OSError, frames.FrameError) as error:
            self._fail(str(error))

    def _deliver(self, messages: list[tuple[int, bytes]]) -> None:
        receive = self._receive
        for opcode, payload in messages:
            if opcode == frames.TEXT:
                receive(payload)
            elif opcode == frames.BINARY:
                self._hooks.received_binary(payload)
            elif opcode == frames.PING:
                self._write(frames.frame(payload, frames.PONG))
            elif opcode == frames.CLOSE:
                code = int.from_bytes(payload[:2], "big")
                self._fail(f"closed by the server ({code} {payload[2:].decode('utf-8', 'replace')})".replace(" )", ")"))
            if self._closed:
                return

    def _write(self, data: bytes) -> None:
        if self._closed:
            return
        if self._unsent:
            self._unsent += data
            if len(self._unsent) > _UNSENT_LIMIT:
                self._fail("the server does not read what is sent")
            return
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            sent = 0
        except OSError as error:
            self._fail(str(error))
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._writable.start(self._on_writable)

    def _on_writable(self) -> None:
        data, self._unsent = self._unsent, b""
        self._writable.stop()
        self._write(data)

    def _fail(self, cause: str) -> None:
        if not self._closed:
            self.close()
            self._hooks.lost(cause)
