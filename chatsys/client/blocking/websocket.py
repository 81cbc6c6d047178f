"""Engine.IO 4 over one WebSocket.

It needs no greenlet: the event loop calls back when the socket is readable, and the callback handles the packet. So a
packet's handler must not wait; it may emit, set events and spawn.
"""

from __future__ import annotations

from typing import Any

from gevent import socket, ssl
from gevent.hub import get_hub

from chatsys.client.address import ServerAddress
from chatsys.client.transport import ClientWebSocket, Handshaken, Hooks, TransportError, handshaken
from chatsys.protocol.frames import FrameError, masked
from chatsys.protocol.handshake import ClientHandshake

_READ = 65_536
_UNSENT_LIMIT = 4 * 1024 * 1024


def connected(address: ServerAddress, timeout: float) -> socket.socket:
    """A connected socket. Raises OSError, also for a refused certificate."""
    sock = socket.create_connection((address.host, address.port), timeout)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.secure:
            return address.context(ssl.SSLContext).wrap_socket(sock, server_hostname=address.server_name)
    except BaseException:
        sock.close()
        raise
    return sock


class WebSocketTransport(ClientWebSocket):
    """One WebSocket, read by the event loop itself."""

    __slots__ = ("_readable", "_sock", "_unsent", "_waiting", "_writable", "address")

    def __init__(self, address: ServerAddress, hooks: Hooks) -> None:
        super().__init__(hooks)
        self.address = address
        self._sock: socket.socket | None = None
        self._unsent = b""
        self._waiting: list[tuple[int, bytes]] = []
        self._readable: Any = None
        self._writable: Any = None

    def open(self, timeout: float) -> Handshaken:
        """Connect, upgrade and read the first packet. Raises TransportError."""
        opened = handshaken(self._first("", timeout))
        self.begin()
        return opened

    def probe(self, sid: str, timeout: float) -> None:
        """Connect to an open session, and probe whether it can continue here. Raises TransportError."""
        answer = self._first(sid, timeout, masked(b"2probe"))
        if answer != b"3probe":
            raise TransportError(f"upgrade: the answer to the probe is {answer[:40]!r}")

    def begin(self) -> None:
        """Start to read packets as they come."""
        self._sock.settimeout(0.0)
        loop = get_hub().loop
        self._readable = loop.io(self._sock.fileno(), 1)
        self._readable.start(self._on_readable)
        self._writable = loop.io(self._sock.fileno(), 2)
        waiting, self._waiting = self._waiting, []
        self._deliver(waiting)

    def close(self, farewell: bytes = b"") -> None:
        """Close the socket, after ``farewell`` and a closing frame if there is one. Idempotent."""
        if self._closed:
            return
        if farewell and self._sock is not None:
            self._goodbye(farewell)
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
            self._sock = connected(self.address, timeout)
            messages = self.reader.feed(self._upgrade(sid))
            if question:
                self._sock.sendall(question)
            while not messages:
                messages = self.reader.feed(self._some())
        except (OSError, FrameError) as error:
            self.close()
            raise TransportError(f"connect: {error or type(error).__name__}") from error
        except BaseException:
            self.close()
            raise
        (_, first), *self._waiting = messages
        return first

    def _upgrade(self, sid: str) -> bytes:
        """Request a WebSocket; return the bytes that came after the server's consent."""
        handshake = ClientHandshake(self.address.target("websocket", sid), self.address.headers())
        self._sock.sendall(handshake.request)
        try:
            while (left := handshake.read(self._some())) is None:
                pass
        finally:
            self.address.learn(value for name, value in handshake.fields if name == "set-cookie")
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
                self._deliver(self.reader.feed(data))
                while not self._closed and isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
                    self._deliver(self.reader.feed(self._sock.recv(_READ)))
            else:
                self._fail("closed by the server")
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except (OSError, FrameError) as error:
            self._fail(str(error))

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
