"""Engine.IO: python-engineio's server with connections that have no task, no timer and no queue of their own.

python-engineio keeps the handshake, long-polling and its HTTP answers. Replaced at its seams: ``AsyncServer`` makes
:class:`Connection` objects (``_handle_connect``), which take the WebSocket's transport over from uvicorn
(``_upgrade_websocket``), are pinged by one timer wheel (``schedule_ping``), and write what a broadcast has framed once.

Read: python-engineio 4.15, ``async_server``, ``async_socket`` and ``async_drivers.asgi``. tests/realtime/test_seams.py
fails when the names and the behaviour used here change.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import engineio
import msgspec
from engineio import async_socket, exceptions, packet
from engineio.async_drivers import asgi

from chatsys import logs, metrics
from chatsys.realtime.frames import Outgoing
from chatsys.realtime.heartbeat import Heartbeat
from chatsys.realtime.rounds import Lane, Rounds
from chatsys.realtime.websocket import POLICY, TAKE_OVER, WebSocket

logger = logging.getLogger("chatsys.realtime")

_OPEN, _CLOSE, _PING, _PONG, _MESSAGE, _UPGRADE, _NOOP = "0123456"
_PING_PACKET = Outgoing(b"2")
_CLOSE_PACKET = Outgoing(b"1")
_INBOX_FULL = 256
_UPGRADE_WITHIN = 10.0
_POLL_PACKETS = 16  # python-engineio's client refuses an answer with more

Data = str | bytes
Handler = Callable[["Connection", deque[Data]], Awaitable[None]]
"""Handles messages of one connection in order, and takes them out of the batch."""


class Connection(async_socket.AsyncSocket):  # type: ignore[misc]
    """One client, by long-polling or by WebSocket.

    Outwards: :meth:`push` appends to one list, which the lane's turn (WebSocket) or the next poll empties. Inwards:
    messages wait in ``inbox`` for one worker, which lives as long as there are any; so they are handled in order.
    ``socket_id`` is the Socket.IO id once the client has connected to the namespace, ``member`` its place in a room.
    """

    __slots__ = (
        "_exempt",
        "_inbox",
        "_inbox_bytes",
        "_poller",
        "_queued",
        "_waiting",
        "_worker",
        "backlog",
        "closed",
        "closing",
        "connected",
        "lane",
        "member",
        "ponged",
        "reason",
        "server",
        "sid",
        "socket",
        "socket_id",
        "upgraded",
        "upgrading",
    )

    def __init__(self, server: EngineServer, sid: str) -> None:  # not super().__init__: it would make a queue
        self.server = server
        self.sid = sid
        self.socket: WebSocket | None = None
        self.connected = self.upgrading = self.upgraded = False
        self.closing = self.closed = False
        self.ponged = True
        self.reason = ""
        self.lane: Lane = server.lobby
        self.socket_id: str | None = None
        self.member: Any = None
        self.backlog = 0
        self._exempt = 0
        self._waiting: list[Outgoing] = []
        self._queued = False
        self._poller: asyncio.Future[None] | None = None
        self._inbox: deque[Data] | None = None
        self._inbox_bytes = 0
        self._worker: asyncio.Task[None] | None = None

    # -- outwards

    def push(self, out: Outgoing, *, asked: bool = False) -> None:
        """Send ``out`` after what was pushed before; close the connection if more than its byte budget would wait.

        What the client ``asked`` for itself (a history) does not count against the budget, once, until it has left.
        """
        if self.closing:
            return
        if self._exempt and not self.backlog and (self.socket is None or not self.socket.waiting()):
            self._exempt = 0
        if asked:
            self._exempt = max(self._exempt, out.cost)
        if self.backlog + out.cost > self.server.byte_budget or (self.socket is not None and self.socket.stalled):
            self.flush()
            waiting = self.unread()
            if waiting and waiting + out.cost > self.server.byte_budget + self._exempt:
                self.server.too_slow(self)
                return
        self.backlog += out.cost
        self._waiting.append(out)
        if not self._queued:
            self._queued = True
            self.lane.add(self)

    @property
    def behind(self) -> bool:
        """Whether the client has not yet taken what was sent to it."""
        return self.socket.stalled if self.socket is not None else self.backlog > 0

    def unread(self) -> int:
        """What waits for the client costs, in bytes: in its list and in the transport's buffer."""
        return self.backlog + (self.socket.waiting() if self.socket is not None and self.socket.stalled else 0)

    def flush(self) -> int:
        """Write what waits, unless the client reads nothing; wake a poll. How many events were written."""
        self._queued = False
        socket, waiting = self.socket, self._waiting
        if socket is None:
            self._wake()
            return 0
        count = len(waiting)
        if not count or socket.stalled:
            return 0
        data = waiting[0].frame if count == 1 else b"".join([out.frame for out in waiting])
        waiting.clear()
        self.backlog = 0
        socket.write(data)
        return count

    def drop(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self.backlog = 0

    def writable(self) -> None:
        """The WebSocket's peer reads again."""
        metrics.deliveries.inc(self.flush())

    def _wake(self) -> None:
        if self._poller is not None and not self._poller.done():
            self._poller.set_result(None)

    async def poll(self) -> list[packet.Packet]:
        """What waits for a polling client, as soon as there is something. An earlier poll still open is ended."""
        self._wake()
        if not self._waiting and not self.upgrading and not self.closing:
            self._poller = asyncio.get_running_loop().create_future()
            await self._poller
        if self.upgrading or self.upgraded or not self._waiting:
            return [packet.Packet(packet.NOOP)]
        waiting, self._waiting = self._waiting[:_POLL_PACKETS], self._waiting[_POLL_PACKETS:]
        metrics.deliveries.inc(len(waiting))
        self.backlog = sum(out.cost for out in self._waiting)
        return [out.packet for out in waiting]

    async def send(self, pkt: packet.Packet) -> None:
        """Send a packet of python-engineio or python-socketio."""
        self.push(Outgoing(pkt.encode().encode("utf-8", "replace")))

    # -- inwards

    def received(self, data: Data) -> None:
        """A whole Engine.IO packet from the WebSocket."""
        if self.closing:
            return
        if isinstance(data, bytes):
            self._take(data)
        elif data[:1] == _MESSAGE:
            self._take(data[1:])
        elif data[:1] == _PONG:
            self.ponged = True
        elif data[:1] == _CLOSE:
            self.end(self.server.reason.CLIENT_DISCONNECT)
        elif not data:
            self.end(self.server.reason.TRANSPORT_ERROR)

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """The packets of one POST, at most ``max_http_buffer_size`` bytes of them."""
        limit = self.server.max_http_buffer_size
        if int(environ.get("CONTENT_LENGTH", "0")) > limit:
            raise exceptions.ContentTooLongError
        body = await environ["wsgi.input"].read(limit + 1)
        if len(body) > limit:
            raise exceptions.ContentTooLongError
        try:
            packets = _packets(body.decode())
        except (ValueError, LookupError) as error:
            raise exceptions.UnknownPacketError from error
        for data in packets:
            self.received(data)
        if self._worker is not None and self._inbox_full():
            await asyncio.wait([self._worker])

    def _take(self, data: Data) -> None:
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(data)
        self._inbox_bytes += len(data)
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
        elif self._inbox_full() and self.socket is not None:
            self.socket.wire.pause_reading()

    def _inbox_full(self) -> bool:
        """Whether the client must wait until what it has sent is handled."""
        return self._inbox is not None and (
            len(self._inbox) > _INBOX_FULL or self._inbox_bytes > self.server.max_http_buffer_size
        )

    async def _work(self) -> None:
        logs.mark(socket=self.sid)
        while self._inbox:
            batch, self._inbox = self._inbox, deque()
            self._inbox_bytes = 0
            try:
                await self.server.handle_messages(self, batch)
            except Exception:
                logger.exception("%s: a message was not handled", self.sid)
            if self.socket is not None and not self.socket.wire.is_reading():
                self.socket.wire.resume_reading()
        self._inbox = self._worker = None
        if self.closing:
            await self.server.handle_end(self)

    # -- alive or not

    def ping(self) -> None:
        """Send a ping; the pong sets ``ponged``."""
        self.ponged = False
        self.push(_PING_PACKET)

    def timed_out(self) -> None:
        """No pong came: the client is gone."""
        self.end(self.server.reason.PING_TIMEOUT)

    def lost(self) -> None:
        """The WebSocket is gone."""
        self.end(self.server.reason.TRANSPORT_CLOSE)

    def end(self, reason: str, code: int = 1000) -> None:
        """Close the connection; its session ends once what it has sent before is handled."""
        if self.closing:
            return
        self.reason = reason
        if self.socket is not None:
            self.flush()
        elif reason != self.server.reason.CLIENT_DISCONNECT:
            self._waiting.append(_CLOSE_PACKET)
        self.closing = self.closed = True
        self._wake()
        if self.socket is not None:
            self.socket.close(code, reason)
        self.server.forget(self)
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """As python-engineio calls it."""
        self.end(reason or self.server.reason.SERVER_DISCONNECT)

    def schedule_ping(self) -> None:
        """Nothing: the server's wheel pings."""

    async def check_ping_timeout(self) -> bool:
        """True: the server's wheel looks for pongs."""
        return True

    # -- transports

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        """Accept a WebSocket and take its transport over: the connection's first, or one that polling upgrades to."""
        take_over = environ["asgi.scope"]["extensions"].get(TAKE_OVER)
        if take_over is None:
            raise RuntimeError("The server must be run with chatsys.realtime.websocket.Doorway as uvicorn's ws class.")
        if self.upgraded or self.upgrading:
            return self.server.bad_request("This session has been upgraded")
        await environ["asgi.send"]({"type": "websocket.accept"})
        if self.connected:
            Probe(self, take_over)
        else:
            self.connected = True
            self.adopt(take_over(self, self.server.max_http_buffer_size))
        return ""

    def adopt(self, socket: WebSocket) -> None:
        """From now on the WebSocket is the transport; what waits leaves by it."""
        socket.receiver = self
        self.socket = socket
        self.upgraded, self.upgrading = True, False
        self._wake()
        if self.closing:
            socket.close()
        else:
            self.flush()


class Probe:
    """A WebSocket that a polling client tries to upgrade to: a ping and its pong, then the upgrade (Engine.IO 4)."""

    def __init__(self, connection: Connection, take_over: Callable[..., WebSocket]) -> None:
        self._connection = connection
        self._socket = take_over(self, connection.server.max_http_buffer_size)
        self._timer = asyncio.get_running_loop().call_later(_UPGRADE_WITHIN, self._fail)

    def received(self, data: Data) -> None:
        """``2probe`` is answered and ends the open poll; ``5`` upgrades; anything else fails."""
        if data == "2probe" and not self._connection.upgrading:
            self._connection.upgrading = True
            self._socket.write(Outgoing(b"3probe").frame)
            self._connection.flush()
        elif data == _UPGRADE and self._connection.upgrading:
            self._timer.cancel()
            self._connection.adopt(self._socket)
        else:
            self._fail()

    def writable(self) -> None:
        """Nothing waits on a probe."""

    def lost(self) -> None:
        """The client has given up the upgrade, and polls on."""
        self._timer.cancel()
        self._connection.upgrading = False

    def _fail(self) -> None:
        self._socket.close(POLICY, "not an upgrade")


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """python-engineio's server over :class:`Connection`.

    ``byte_budget`` is for what waits for one client, in bytes of memory. ``handle_messages`` gets what clients send in
    order, ``handle_end`` is called once for each connection after its last message.
    """

    def __init__(self, *, byte_budget: int, handle_messages: Handler, handle_end: Any, **options: Any) -> None:
        super().__init__(async_mode="asgi", monitor_clients=False, http_compression=False, **options)
        self._async: dict[str, Any] = {**asgi._async, "make_response": _make_response}
        self.byte_budget = byte_budget
        self.handle_messages = handle_messages
        self.handle_end = handle_end
        self.heartbeat = Heartbeat(self.ping_interval, self.ping_timeout)
        self.rounds = Rounds()
        self.lobby: Lane = Lane(self.rounds)
        metrics.connections.set_function(lambda: len(self.sockets))
        metrics.waiting_bytes.set_function(lambda: sum(one.unread() for one in list(self.sockets.values())))

    def forget(self, connection: Connection) -> None:
        """The connection's id is no longer valid."""
        self.sockets.pop(connection.sid, None)

    def too_slow(self, connection: Connection) -> None:
        """Close a connection that does not read; what waits is dropped, and replayed when the client returns."""
        metrics.slow_disconnects.inc()
        logger.warning("%s: closed with %d bytes unread", connection.sid, connection.unread())
        connection.drop()
        connection.end("slow reader", POLICY)

    def bad_request(self, message: str) -> dict[str, Any]:
        """A 400 answer as python-engineio's own."""
        return self._bad_request(message)

    def _bad_request(self, message: str | None = None) -> dict[str, Any]:
        if message == "Invalid transport" and "polling" not in self.transports:
            message = (
                "Several server processes share this port, so long-polling is not served: connect with "
                "transports: ['websocket'], or put a proxy with sticky sessions before the servers (docs/REALTIME.md)."
            )
        answer: dict[str, Any] = super()._bad_request(message)
        return answer

    def _method_not_found(self) -> dict[str, Any]:
        return self.bad_request("Bad handshake method")

    def _cors_headers(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        headers: list[tuple[str, str]] = super()._cors_headers(environ)
        methods = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS"
        return [(name, methods if name == "Access-Control-Allow-Methods" else value) for name, value in headers]

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None) -> Any:
        connection = Connection(self, self.generate_id())
        self.sockets[connection.sid] = connection
        connection.push(Outgoing(b"0" + msgspec.json.encode(self._handshake(connection.sid, transport))))
        self.heartbeat.add(connection)
        if transport == "websocket":
            try:
                return await connection._upgrade_websocket(environ)
            except Exception:
                connection.end(self.reason.TRANSPORT_ERROR)
                raise
        connection.connected = True
        return self._ok(await connection.poll(), jsonp_index=jsonp_index)

    def _handshake(self, sid: str, transport: str) -> dict[str, Any]:
        return {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingInterval": int(self.ping_interval * 1000),
            "pingTimeout": int(self.ping_timeout * 1000),
            "maxPayload": self.max_http_buffer_size,
        }


def _packets(body: str) -> list[Data]:
    """The packets of a POST (Engine.IO 4), binary ones as bytes; python-engineio refuses more than 16 of them.

    A form with the field ``d`` is JSONP's. Raises ValueError or LookupError for a body that can't be a payload.
    """
    if body.startswith("d="):
        body = parse_qs(body)["d"][0]
    return [b64decode(part[1:]) if part[:1] == "b" else part for part in body.split("\x1e")] if body else []


async def _make_response(status: str, headers: list[tuple[str, str]], body: bytes, environ: dict[str, Any]) -> None:
    """As python-engineio's, but a refused WebSocket gets the HTTP status too."""
    scope = environ["asgi.scope"]
    if scope["type"] != "websocket" or "websocket.http.response" not in scope.get("extensions", {}):
        await asgi.make_response(status, headers, body, environ)
        return
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    start = {"type": "websocket.http.response.start", "status": int(status.split(" ", maxsplit=1)[0]), "headers": raw}
    await environ["asgi.send"](start)
    await environ["asgi.send"]({"type": "websocket.http.response.body", "body": body})
