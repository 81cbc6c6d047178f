"""Engine.IO 4 over one WebSocket, or over HTTP long-polling: packets out, packets in.

A WebSocket costs no greenlet: the event loop calls back when its socket is readable, and the packet is handled there
and then. So what handles a packet must not wait; it may emit, set events and spawn.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import ssl
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import SplitResult

import gevent
import msgspec
from gevent import socket
from gevent.event import Event
from gevent.hub import get_hub

from chatsys.loadtesting import frames

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_READ = 65_536
_UNSENT_LIMIT = 4 * 1024 * 1024
_SEPARATOR = b"\x1e"  # between the packets of one polling payload, Engine.IO protocol 4


class TransportError(Exception):
    """The connection could not be made, or was lost; the text is the cause."""


class Opened(msgspec.Struct):
    """The server's first packet; ``pingInterval`` and ``pingTimeout`` in milliseconds."""

    sid: str
    pingInterval: int = 25_000  # noqa: N815
    pingTimeout: int = 20_000  # noqa: N815


class Transport(Protocol):
    """What carries packets. ``receive`` and ``lost`` are the callbacks given at its making."""

    def open(self, timeout: float) -> Opened:
        """Connect and shake hands. Raises TransportError."""
        ...

    def send(self, packet: bytes) -> None:
        """Send one text packet, now or as soon as the socket takes it; never waits."""
        ...

    def close(self, farewell: bytes = b"") -> None:
        """Send ``farewell``, if any, and close. Idempotent; ``lost`` is not called."""
        ...


class WebSocketTransport:
    """One WebSocket, read by the event loop itself."""

    __slots__ = ("_closed", "_lost", "_readable", "_reader", "_receive", "_sock", "_unsent", "_url", "_writable")

    def __init__(self, url: SplitResult, receive: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._url = url
        self._receive = receive
        self._lost = lost
        self._reader = frames.FrameReader()
        self._sock: socket.socket | None = None
        self._unsent = b""
        self._closed = False
        self._readable: Any = None
        self._writable: Any = None

    def open(self, timeout: float) -> Opened:
        """Connect, upgrade and read the first packet. Raises TransportError."""
        try:
            self._sock = _connected(self._url, timeout)
            left = self._upgrade()
            messages = self._reader.feed(left)
            while not messages:
                messages = self._reader.feed(self._some())
        except (OSError, frames.FrameError) as error:
            self.close()
            raise TransportError(f"connect: {error or type(error).__name__}") from error
        except BaseException:
            self.close()
            raise
        (_, first), *others = messages
        self._sock.settimeout(0.0)
        loop = get_hub().loop
        self._readable = loop.io(self._sock.fileno(), 1)
        self._readable.start(self._on_readable)
        self._writable = loop.io(self._sock.fileno(), 2)
        opened = opened_by(first)
        if others:
            self._deliver(others)
        return opened

    def send(self, packet: bytes) -> None:
        """Send one text packet; what the socket does not take now goes as soon as it does."""
        self._write(frames.frame(packet))

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

    def _upgrade(self) -> bytes:
        """Ask for a WebSocket; the bytes that came after the server's consent."""
        key = base64.b64encode(os.urandom(16))
        target = self._url.path + "?" + self._url.query
        self._sock.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            if len(answer) > _READ:
                raise frames.FrameError("the answer to the upgrade has no end")
            answer += self._some()
        head, _, left = answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        if lines[0].split(b" ", 2)[1:2] != [b"101"]:
            raise frames.FrameError(f"no upgrade: {lines[0].decode('latin-1')}")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        expected = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID, usedforsecurity=False).digest())
        if headers.get(b"sec-websocket-accept") != expected:
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
            elif opcode == frames.PING:
                self._write(frames.frame(payload, frames.PONG))
            elif opcode == frames.CLOSE:
                code = int.from_bytes(payload[:2], "big")
                self._fail(f"closed by the server ({code} {payload[2:].decode('utf-8', 'replace')})".replace(" )", ")"))
            elif opcode == frames.BINARY:
                self._fail("a binary packet came; this client speaks text packets only")
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
            self._lost(cause)


class PollingTransport:
    """HTTP long-polling: one greenlet asks, one posts; a connection each, kept open."""

    def __init__(self, url: SplitResult, receive: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._url = url
        self._receive = receive
        self._lost = lost
        self._target = url.path + "?" + url.query
        self._unsent: list[bytes] = []
        self._wake = Event()
        self._closed = False
        self._asking: http.client.HTTPConnection | None = None
        self._posting: http.client.HTTPConnection | None = None

    def open(self, timeout: float) -> Opened:
        """Shake hands, then begin to ask and to post. Raises TransportError."""
        try:
            self._asking, self._posting = _http(self._url, timeout), _http(self._url, timeout)
            first, *others = self._ask()
            opened = opened_by(first)
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"connect: {error or type(error).__name__}") from error
        self._target += "&sid=" + opened.sid
        patience = (opened.pingInterval + opened.pingTimeout) / 1000
        if self._asking.sock is not None:
            self._asking.sock.settimeout(patience)
        self._asking.timeout = patience
        for packet in others:
            self._receive(packet)
        gevent.spawn(self._guarded, self._keep_asking)
        gevent.spawn(self._guarded, self._keep_posting)
        return opened

    def send(self, packet: bytes) -> None:
        """Queue one packet for the next POST."""
        self._unsent.append(packet)
        self._wake.set()

    def close(self, farewell: bytes = b"") -> None:
        """Let the posting greenlet send ``farewell`` and an Engine.IO close, then end both. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if farewell:
            self._unsent += [farewell, b"1"]
        self._wake.set()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, http.client.HTTPException, TransportError) as error:
            if not self._closed:
                self._closed = True
                self._wake.set()
                self._lost(str(error) or type(error).__name__)

    def _keep_asking(self) -> None:
        try:
            while not self._closed:
                for packet in self._ask():
                    if not self._closed:
                        self._receive(packet)
        finally:
            self._asking.close()

    def _ask(self) -> list[bytes]:
        self._asking.request("GET", self._target)
        return _body(self._asking).split(_SEPARATOR)

    def _keep_posting(self) -> None:
        try:
            while self._unsent or not self._closed:
                if not self._unsent:
                    self._wake.wait()
                    self._wake.clear()
                    continue
                packets, self._unsent = self._unsent, []
                self._posting.request(
                    "POST", self._target, _SEPARATOR.join(packets), {"Content-Type": "text/plain;charset=UTF-8"}
                )
                _body(self._posting)
        finally:
            self._posting.close()


TRANSPORTS: dict[str, type[WebSocketTransport] | type[PollingTransport]] = {
    "websocket": WebSocketTransport,
    "polling": PollingTransport,
}


def opened_by(packet: bytes) -> Opened:
    """The handshake in the server's first packet. Raises TransportError for anything else."""
    try:
        if packet[:1] != b"0":
            raise TransportError(f"connect: the first packet is {packet[:40]!r}, not an Engine.IO handshake")
        return msgspec.json.decode(packet[1:], type=Opened)
    except msgspec.DecodeError as error:
        raise TransportError(f"connect: the Engine.IO handshake is not readable: {error}") from error


def _connected(url: SplitResult, timeout: float) -> socket.socket:
    port = url.port or (443 if url.scheme == "https" else 80)
    sock = socket.create_connection((url.hostname, port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if url.scheme == "https":
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=url.hostname)
    return sock


def _http(url: SplitResult, timeout: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return kind(url.hostname, url.port, timeout=timeout)


def _body(connection: http.client.HTTPConnection) -> bytes:
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise TransportError(f"HTTP {response.status} {body[:100].decode('utf-8', 'replace')}")
    return body
