"""Socket.IO over WebSocket on plain sockets, thousands in one process: Engine.IO 4, Socket.IO 5, RFC 6455.

Frames other than text, ping and close raise OperatorError.
"""

from __future__ import annotations

import select
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from chatsys.errors import OperatorError
from chatsys.protocol.frames import CLOSE, TEXT, FrameError, ServerFrames, frame, payload_span
from chatsys.protocol.handshake import ClientHandshake

_RECEIVE = 262_144
_ENGINE_PING = b"\x81\x012"
_PING = b"\x89\x04"  # uvicorn's, with a payload of four bytes
_PING_SIZE = 6
_LONG_TEXT = b"\x81\x7e"  # a final text frame whose size follows in two bytes
_LONG_HEAD = 4
_EVENT_AT = _LONG_HEAD + len("42")
_encode = msgspec.json.Encoder().encode


class Cut:
    """Where the dropped bytes ended: ``rest`` bytes of a payload are still missing, or ``head`` is an incomplete head.

    Without it, the next bytes would be parsed from the middle of a frame.
    """

    __slots__ = ("head", "rest")

    def __init__(self) -> None:
        self.head, self.rest = b"", 0

    def drop(self, piece: bytes) -> None:
        """Follow the frames of a piece that is not stored."""
        if len(piece) < self.rest:
            self.rest -= len(piece)
            return
        data, position = self.head + piece[self.rest :], 0
        while (ends := payload_span(data, position)) is not None:
            position = ends[1]
        self.head, self.rest = data[position:], max(0, position - len(data))


class RawClient:
    """One client: its socket, and what arrived as (monotonic nanoseconds, bytes)."""

    __slots__ = ("arrived", "closed", "count", "cut", "end", "sid", "sock", "tail")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.arrived: list[tuple[int, bytes]] = []
        self.cut = Cut()
        self.count = 0
        self.tail = self.end = b""
        self.closed = False
        self.sid = ""

    def emit(self, event: str, payload: Any, ack: int | None = None) -> int:
        """Send one event and return the time just before, in monotonic nanoseconds. Raises OperatorError."""
        return self.send(event_frame(event, payload, ack))

    def send(self, frame: bytes) -> int:
        """Send a frame and return the time just before, in monotonic nanoseconds.

        Raises OperatorError if the server has closed the connection.
        """
        sent = time.monotonic_ns()
        try:
            self.sock.sendall(frame)
        except OSError as error:
            raise OperatorError(f"The server has closed the connection of a sending client: {error}.") from error
        return sent

    def forget(self) -> None:
        """Drop what arrived so far and reset the count. The rest of an incomplete frame is dropped when it arrives."""
        self.drop()
        self.count = 0

    def drop(self, piece: bytes = b"") -> None:
        """Drop what arrived so far, and then ``piece``."""
        for _, kept in self.arrived:
            self.cut.drop(kept)
        self.arrived.clear()
        self.cut.drop(piece)

    def texts(self) -> Iterator[tuple[int, bytes]]:
        """The packets that arrived: (monotonic nanoseconds of arrival, text)."""
        return frames(self.arrived, self.cut)

    def events(self) -> Iterator[tuple[int, str, Any]]:
        """The events that arrived: (monotonic nanoseconds of arrival, event, payload)."""
        for at, text in self.texts():
            if text.startswith(b"42"):
                event, *payload = msgspec.json.decode(text[text.index(b"[") :])
                yield at, event, payload[0] if payload else None


def upgraded(address: tuple[str, int], timeout: float) -> tuple[socket.socket, bytes]:
    """A new WebSocket for Engine.IO, and the bytes that followed the handshake. Raises OSError if it fails."""
    sock = socket.create_connection(address, timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    handshake = ClientHandshake("/socket.io/?EIO=4&transport=websocket", {"Host": f"{address[0]}:{address[1]}"})
    try:
        sock.sendall(handshake.request)
        while piece := sock.recv(65_536):
            if (rest := handshake.read(piece)) is not None:
                return sock, rest
        raise FrameError("the server closed the connection during the handshake")
    except (OSError, FrameError) as error:
        sock.close()
        raise ConnectionError(str(error)) from error


OnMarkers = Callable[[RawClient, int], None]
"""Called with a member and the number of markers in a piece that it received."""


class RawClients:
    """The clients of one process, read by one selector. While ``keeping`` is false, data is counted and dropped."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._selector = selectors.DefaultSelector()
        self._received = memoryview(bytearray(_RECEIVE))
        self.members: list[RawClient] = []
        self.keeping = True

    def __enter__(self) -> RawClients:
        return self

    def __exit__(self, *_: object) -> None:
        self.empty()
        self._selector.close()

    def empty(self) -> None:
        """Close all connections."""
        for member in self.members:
            self._close(member)
        self.members.clear()

    def connect(self, url: str = "") -> RawClient:
        """A new member in the default namespace of the server at ``url``, by default the one of these clients.

        Raises OperatorError if it can't connect.
        """
        parts = urlsplit(url or self.url)
        try:
            return self._connect((parts.hostname or "127.0.0.1", parts.port or 80))
        except OSError as error:
            raise OperatorError(f"After {len(self.members)} connections, the next one failed: {error}.") from error

    def _connect(self, address: tuple[str, int]) -> RawClient:
        sock, rest = upgraded(address, 30)
        member = RawClient(sock)
        if rest:
            member.arrived.append((time.monotonic_ns(), rest))
        self._wait_for_text(member, b"0{")
        sock.sendall(text_frame(b"40"))
        member.sid = msgspec.json.decode(self._wait_for_text(member, b"40")[2:])["sid"]
        sock.setblocking(False)
        member.forget()
        self.members.append(member)
        self._selector.register(sock, selectors.EVENT_READ, member)
        return member

    def pause(self, member: RawClient) -> None:
        """Stop reading a member's socket, and make its receive buffer small."""
        member.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._selector.unregister(member.sock)

    def dismiss(self, member: RawClient) -> None:
        """Close a member's connection."""
        self.members.remove(member)
        self._close(member)

    def _close(self, member: RawClient) -> None:
        if not member.closed and member.sock in self._selector.get_map():  # not after :meth:`pause`
            self._selector.unregister(member.sock)
        member.sock.close()

    def _piece(self, sock: socket.socket) -> bytes:
        """What has arrived; empty at the end of the stream.

        It reuses one buffer: ``recv`` would allocate memory for each call, which in some processes costs six times as
        much as reading a message.
        """
        return bytes(self._received[: sock.recv_into(self._received)])

    def pump(self, seconds: float, marker: bytes = b"", each: OnMarkers | None = None) -> int:
        """Wait up to ``seconds`` for data, and read what has arrived.

        The occurrences of ``marker`` in a piece are added to its member's ``count``. If there are any, ``each`` is
        called with the member and their number. Returns the total number of occurrences.
        """
        total = 0
        for key, _ in self._selector.select(seconds):
            member: RawClient = key.data
            try:
                piece = self._piece(member.sock)
            except BlockingIOError:
                continue
            except OSError:
                piece = b""
            if not piece:
                self._selector.unregister(member.sock)
                member.closed = True
                continue
            if self.keeping:
                member.arrived.append((time.monotonic_ns(), piece))
            else:
                member.drop(piece)
            if _is_one_text(piece):
                member.end = member.tail = b""
                found = int(marker != b"" and piece.startswith(marker, _EVENT_AT))
            else:
                _answer_pings(member, piece)
                found = _occurrences(member, piece, marker) if marker else 0
            if found:
                member.count += found
                total += found
                if each is not None:
                    each(member, found)
        return total

    def pump_before(self, moment: float, marker: bytes = b"", each: OnMarkers | None = None) -> None:
        """Read what arrives until ``moment``, in monotonic nanoseconds.

        It waits with select, which counts microseconds: epoll rounds up to whole milliseconds.
        """
        while (left := moment - time.monotonic_ns()) > 0:
            select.select((self._selector.fileno(),), (), (), left / 1e9)
            self.pump(0, marker, each)

    def idle_until(self, ready: int) -> None:
        """Answer pings until the file descriptor ``ready`` is readable. Everything else that arrives is dropped.

        A server closes the connection of a client that does not answer within 45 seconds.
        """
        keeping, self.keeping = self.keeping, False
        with selectors.DefaultSelector() as either:
            either.register(ready, selectors.EVENT_READ)
            either.register(self._selector.fileno(), selectors.EVENT_READ)
            while all(key.fd != ready for key, _ in either.select()):
                self.pump(0)
        self.keeping = keeping

    def pump_until(self, done: Callable[[], bool], timeout: float, marker: bytes = b"") -> bool:
        """Read until ``done()`` is true or ``timeout`` seconds have passed. Returns False on a timeout."""
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline:
                return False
            self.pump(0.05, marker)
        return True

    def _wait_for_text(self, member: RawClient, prefix: bytes) -> bytes:
        while True:
            for _, text in frames(member.arrived):
                if text.startswith(prefix):
                    return text
            piece = self._piece(member.sock)
            if not piece:
                raise OperatorError("The server closed the connection during the handshake.")
            member.arrived.append((time.monotonic_ns(), piece))


def _is_one_text(piece: bytes) -> bool:
    """Whether a piece is exactly one text frame of the usual size. Nearly all are, and need no search."""
    return piece[:2] == _LONG_TEXT and int.from_bytes(piece[2:_LONG_HEAD], "big") == len(piece) - _LONG_HEAD


def _answer_pings(member: RawClient, piece: bytes) -> None:
    """Answer the pings of Engine.IO and of the WebSocket. A ping may be split over two pieces."""
    seen = member.end + piece
    if seen.find(_ENGINE_PING, max(0, len(member.end) + 1 - len(_ENGINE_PING))) >= 0:
        member.sock.send(_PONG_FRAME)
    at = seen.find(_PING)
    if 0 <= at <= len(seen) - _PING_SIZE:
        member.sock.send(b"\x8a\x84\0\0\0\0" + seen[at + 2 : at + _PING_SIZE])
    member.end = seen[1 - _PING_SIZE :]


def _occurrences(member: RawClient, piece: bytes, marker: bytes) -> int:
    """How many markers end in ``piece``. A marker that is split over two pieces counts with the second one."""
    joined = member.tail + piece if member.tail else piece
    member.tail = b"" if joined.endswith(b"]") else joined[1 - len(marker) :]  # no marker continues after a bracket
    return joined.count(marker)


def event_frame(event: str, payload: Any, ack: int | None = None) -> bytes:
    """The frame of an event. With ``ack`` the server acknowledges it with that number."""
    number = b"" if ack is None else str(ack).encode()
    return text_frame(b"42" + number + _encode([event, payload]))


def text_frame(payload: bytes) -> bytes:
    """A text frame with a mask of zero, which costs nothing and which RFC 6455 allows."""
    return frame(TEXT, payload, bytes(4))


_PONG_FRAME = text_frame(b"3")


def frames(pieces: list[tuple[int, bytes]], cut: Cut | None = None) -> Iterator[tuple[int, bytes]]:
    """The text frames in ``pieces``, which follow a ``cut``. Each has the arrival time of the piece that completed it.

    Raises OperatorError for a binary frame.
    """
    reader, left, dropping = ServerFrames(), 0, False
    if cut is not None:
        dropping, left = cut.head != b"", cut.rest
        reader.feed(cut.head)
    for at, piece in pieces:
        found = reader.feed(piece[left:])
        left = max(0, left - len(piece))
        for opcode, text in found:
            if dropping:
                dropping = False
            elif opcode == TEXT:
                yield at, text
            elif opcode < CLOSE:
                raise OperatorError("The server sent a frame that was not text.")
