"""HTTP connections with limits, and the way of a WebSocket to the engine.

uvicorn parses HTTP and runs the application; here a head has a size, a request a deadline, what is unfinished is
counted, and what is not HTTP gets an answer in JSON. A request for a WebSocket is judged by the sans-I/O server of the
websockets library; then its transport belongs to the engine, and nothing of the request is kept.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from chatsys.engine.polling import Endpoint, Refusal
from chatsys.wire import objects
from chatsys.wire.answers import Problem

HEAD_LIMIT = 65_536
"""Bytes of a request line with its headers, give or take what one read brings."""


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection.

    =======  ==============================  =============================  ==================================
    state    what the client sends           its deadline                   goes on to
    =======  ==============================  =============================  ==================================
    head     is counted, up to HEAD_LIMIT    ``unfinished_within``: 408     body, idle, refused, the handshake
    body     is counted                      the same                       idle, refused
    idle     begins a head                   uvicorn's, of 5 s              head
    refused  is not read                     none                           nothing
    =======  ==============================  =============================  ==================================

    A new connection is in its head: one that sends nothing is refused like one that sends half a head.
    """

    def __init__(self, endpoint: Endpoint, **given: Any) -> None:
        super().__init__(**given)
        self._engine = endpoint.engine
        self._in_head = True
        self._head = self._held = 0
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(_Introduced(transport))
        self.transport = transport
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._finish()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it goes on a head that is too long."""
        if self._in_head:
            if self._head > HEAD_LIMIT:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
            self._head += len(data)
        self._hold(len(data))
        super().data_received(data)
        if self._since and self._engine.memory.refuses(self._held):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = True
        self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._in_head = False
        self._head = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request has ended."""
        self._in_head = True
        self._finish()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """The transport goes to another protocol, and this one goes at once.

        It and its parser refer to each other: thousands of them would wait for the garbage collector, and that would
        hold everybody up.
        """
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST)

    # -- what is not finished

    def check(self, now: float) -> bool:
        """Refuse a client that does not finish its request in time; whether it has begun one."""
        if self._since and now - self._since > self._engine.limits.unfinished_within:
            self._finish()
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        return bool(self._since)

    def _begin(self) -> None:
        if not self._since:
            self._since = self._engine.loop.time()
            self._engine.wheel.watch(self)

    def _hold(self, size: int) -> None:
        self._held += size
        self._engine.memory.take(size)

    def _finish(self) -> None:
        self._since = 0.0
        self._hold(-self._held)
        self._engine.wheel.unwatch(self)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer, unless another answer is due or under way, and close."""
        cycle = self.cycle
        if cycle is None or (cycle.response_complete if self._in_head else not cycle.response_started):
            self.transport.write(_refusal(status))
        self.transport.close()


def _refusal(status: HTTPStatus) -> bytes:
    body = objects.encode(Problem(message=status.phrase))
    again = "retry-after: 5\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{again}connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


class _Introduced(asyncio.Transport):
    """A new connection as uvicorn gets to know it.

    uvicorn asks the transport's socket for both addresses, and uvloop keeps that socket and what it answered for as
    long as the connection lives, which is 360 bytes of each WebSocket. The transport itself keeps no copies.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of an address the host and the port, which is what uvicorn reads."""
        found = None if name == "socket" else self._transport.get_extra_info(name, default)
        return found[:2] if isinstance(found, tuple) else found


class Handshake(asyncio.Protocol):
    """What answers a request for a WebSocket. uvicorn makes one, and gives it the transport and the request's head.

    ========  ====================================  ==================
    state     what it waits for                     goes on to
    ========  ====================================  ==================
    made      the head, from uvicorn                judging
    judging   the next turn of the event loop       accepted, refused
    accepted  nothing: the transport is handed on   nothing
    refused   nothing: it has answered and closed   nothing
    ========  ====================================  ==================
    """

    def __init__(self, endpoint: Endpoint, path: str, *, server_state: Any, **_: Any) -> None:
        self._endpoint = endpoint
        self._path = path
        self._registry: set[Any] = server_state.connections
        self._data = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The transport is this protocol's."""
        self._transport = transport
        self._registry.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._registry.discard(self)

    def shutdown(self) -> None:
        """The server stops."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """The head of the request. uvicorn makes this the transport's protocol afterwards, so the answer waits."""
        if not self._data:
            self._endpoint.engine.loop.call_soon(self._answer)
        self._data += data

    def _answer(self) -> None:
        if self._transport.is_closing():
            return
        handshake = ServerProtocol()
        handshake.receive_data(self._data)
        requests = [event for event in handshake.events_received() if isinstance(event, Request)]
        if not requests:
            self._transport.write(_refusal(HTTPStatus.BAD_REQUEST))
            self._transport.close()
            return
        response, session = handshake.accept(requests[0]), None
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            try:
                session = self._admitted(requests[0])
            except Refusal as refusal:
                response = _json(refusal)
        handshake.send_response(response)
        self._transport.write(b"".join(handshake.data_to_send()))
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._registry.discard(self)
            self._transport.set_protocol(self._endpoint.adopt(self._transport, session, self._registry))
        else:
            self._transport.close()

    def _admitted(self, request: Request) -> Any:
        path, _, query = request.path.partition("?")
        if path.rstrip("/") != self._path:
            raise Refusal(3, f"Route {request.path} not found", 404)
        origin = request.headers.get("Origin")
        return self._endpoint.admit(query.encode("latin-1", "replace"), origin.encode() if origin else None)


def _json(refusal: Refusal) -> Response:
    headers = Headers(
        {"Content-Type": "application/json", "Content-Length": str(len(refusal.body)), "Connection": "close"}
    )
    status = HTTPStatus(refusal.status)
    return Response(status.value, status.phrase, headers, refusal.body)
