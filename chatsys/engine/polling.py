"""The Engine.IO 4 HTTP endpoint: long-polling as an ASGI application, and admission of WebSockets.

A refused request gets the reference implementation's response: status 400 and ``{"code", "message"}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from chatsys.engine.connection import CLIENT_LEFT, MALFORMED, Connection
from chatsys.engine.engine import POLLING, WEBSOCKET, Engine, Probe
from chatsys.engine.outbound import State
from chatsys.engine.websocket import WebSocket
from chatsys.protocol.packets import Malformed, decode_payload, encode_payload

PACKETS_MOST = 20_000
"""Maximum packets in one POST."""

METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS"

_ONE_PROCESS = (
    "Several server processes share this port, so long-polling is not served: connect with transports: ['websocket'], "
    "or put a proxy with sticky sessions before the servers (docs/REALTIME.md)."
)


class Refusal(Exception):
    """The request is refused; with the response's code, message and status."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.body = msgspec.json.encode({"code": code, "message": message})


_BAD_REQUEST = Refusal(3, "Bad request")


class Endpoint:
    """Long-polling for one engine. ``cors_origin`` is one origin, or ``*``."""

    def __init__(self, engine: Engine, cors_origin: str) -> None:
        self.engine = engine
        self._cors_origin = cors_origin

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        try:
            body = await self._answer(scope, headers, receive)
            status, kind = 200, b"text/plain; charset=UTF-8"
        except Refusal as refusal:
            body, status, kind = refusal.body, refusal.status, b"application/json"
        if body is None:
            return
        answer = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *self._cors(scope, headers)]
        await send({"type": "http.response.start", "status": status, "headers": answer})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Any, headers: Mapping[bytes, bytes], receive: Any) -> bytes | None:
        """The body of the response; None if the client is gone. Raises Refusal."""
        method = scope["method"]
        if method == "OPTIONS":
            return b""
        query = self._checked(scope["query_string"], headers.get(b"origin"))
        if query["transport"] != POLLING or "j" in query:  # WebSockets use ``admit``; Engine.IO 4 has no JSONP
            raise _BAD_REQUEST
        sid = query.get("sid")
        if method == "GET":
            return await self._poll(self._session(sid) if sid else self.engine.open(POLLING))
        if method == "POST" and sid:
            return await self._post(self._session(sid), headers, receive)
        raise Refusal(2, "Bad handshake method")

    def _checked(self, query_string: bytes, origin: bytes | None) -> dict[str, str]:
        """The query parameters, with the first value of each name. Raises Refusal if the request may not be served."""
        query = {name: values[0] for name, values in parse_qs(query_string.decode("latin-1")).items()}
        if origin is not None and not self._allows(origin):
            raise Refusal(4, "The origin is not accepted", 400)
        if query.get("transport") not in self.engine.transports:
            unserved = query.get("transport") == POLLING
            raise Refusal(0, _ONE_PROCESS if unserved else "Transport unknown")
        if "sid" not in query and query.get("EIO") != "4":
            raise Refusal(5, "Unsupported protocol version")
        return query

    def _known(self, sid: str) -> Connection:
        connection = self.engine.connections.get(sid)
        if connection is None:
            raise Refusal(1, "Session ID unknown")
        return connection

    def _session(self, sid: str) -> Connection:
        connection = self._known(sid)
        if connection.state not in (State.POLLING, State.PROBING):
            raise _BAD_REQUEST
        return connection

    # -- polling

    async def _poll(self, connection: Connection) -> bytes:
        woken = asyncio.Event()
        packets = connection.poll(woken.set)
        if packets is None:
            if connection.closing:
                raise _BAD_REQUEST
            await woken.wait()
            packets = connection.polled()
        return encode_payload(packets)

    async def _post(self, connection: Connection, headers: Mapping[bytes, bytes], receive: Any) -> bytes | None:
        """Handle the packets of a POST, a few in each iteration of the event loop. Concurrent POSTs are refused."""
        polling = connection.polling
        if polling is None or polling.posting:
            connection.end("overlapping posts")
            raise _BAD_REQUEST
        polling.posting = True
        try:
            body = await self._body(connection, headers, receive)
            if body is None:
                return None
            packets = decode_payload(body, PACKETS_MOST)
            batch = self.engine.limits.frames_per_iteration
            for start in range(0, len(packets), batch):
                await self._yield(connection, start)
                for data in packets[start : start + batch]:
                    connection.received(data)
            await self._yield(connection, 0)
        except Malformed:
            connection.end(MALFORMED)
        finally:
            polling.posting = False
        if connection.closing and connection.reason != CLIENT_LEFT:
            raise _BAD_REQUEST
        return b"ok"

    async def _yield(self, connection: Connection, start: int) -> None:
        """Let other tasks run unless ``start`` is 0, and wait while the connection is paused."""
        if start:
            await asyncio.sleep(0)
        if connection.paused and connection.polling is not None:
            resumed = asyncio.Event()
            connection.polling.resumed = resumed.set
            await resumed.wait()

    async def _body(self, connection: Connection, headers: Mapping[bytes, bytes], receive: Any) -> bytes | None:
        """The body of a POST; None if the client disconnects before its end. The web server accounts for its memory."""
        limit = self.engine.limits.max_packet
        length = headers.get(b"content-length", b"0")
        body = bytearray()
        more = length.isdigit() and int(length) <= limit
        while more and len(body) <= limit:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                return bytes(body)
        connection.end("a POST that is too long")
        raise _BAD_REQUEST

    # -- origins

    def _allows(self, origin: bytes) -> bool:
        return self._cors_origin in ("*", origin.decode("latin-1"))

    def _cors(self, scope: Any, headers: Mapping[bytes, bytes]) -> Iterable[tuple[bytes, bytes]]:
        origin, requested = headers.get(b"origin"), headers.get(b"access-control-request-headers")
        if origin is not None and self._allows(origin):
            yield b"access-control-allow-origin", origin
            yield b"access-control-allow-credentials", b"true"
            yield b"vary", b"Origin"
        if scope["method"] == "OPTIONS":
            yield b"access-control-allow-methods", METHODS.encode()
        if requested is not None:
            yield b"access-control-allow-headers", requested

    # -- WebSockets

    def admit(self, query_string: bytes, origin: bytes | None) -> Connection | None:
        """The session that a new WebSocket upgrades, or None for a new session. Raises Refusal if it is not allowed."""
        query = self._checked(query_string, origin)
        if query["transport"] != WEBSOCKET:
            raise _BAD_REQUEST
        return self._known(query["sid"]) if "sid" in query else None

    def adopt(self, wire: asyncio.Transport, session: Connection | None, registry: set[Any]) -> WebSocket:
        """Use the transport of an admitted WebSocket after its opening handshake."""
        if session is not None:
            probe = Probe(session)
            socket = WebSocket(wire, probe, self.engine, registry)
            probe.adopt(socket)
            if session.state is not State.POLLING:  # upgraded already, or about to be
                socket.close()
            return socket
        connection = self.engine.open(WEBSOCKET)
        socket = WebSocket(wire, connection, self.engine, registry)
        connection.adopt(socket)
        return socket
