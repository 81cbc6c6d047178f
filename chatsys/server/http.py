"""HTTP connections with limits, and the handover of WebSockets to the engine.

uvicorn parses HTTP and runs the application. This module limits the size of a request's head and the time of a request,
counts the bytes of unfinished requests, and answers malformed HTTP in JSON. The websockets library (without I/O) checks
a request for a WebSocket. Then the engine takes over the transport, and the request is freed.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.http11 import Request
from websockets.server import ServerProtocol

from chatsys.engine.polling import Endpoint, Refusal
from chatsys.wire import objects
from chatsys.wire.answers import Problem

HEAD_LIMIT = 65_536
"""Maximum bytes of a request line with its headers, give or take one read."""


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection.

    =======  ==============================  =============================  ==================================
    state    data from the client            deadline                       next states
    =======  ==============================  =============================  ==================================
    head     is counted, up to HEAD_LIMIT    ``unfinished_within``: 408     body, idle, refused, the handshake
    body     is counted                      as above                       idle, refused
    idle     begins a head                   uvicorn's 5 s                  head
    refused  is not read                     none                           none
    =======  ==============================  =============================  ==================================

    A new connection starts in the state head, so a client that sends nothing is refused at the deadline.
    """

    def __init__(self, endpoint: Endpoint, **given: Any) -> None:
        super().__init__(**given)
        self._engine = endpoint.engine
        self._in_head = True
        self._head = self._held = 0
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(_SmallTransport(transport))
        self.transport = transport
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
        self._finish()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data from the client, unless its head is already too long."""
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
        """A request has begun."""
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
        """Pass the transport to another protocol, and free this one."""
        super().handle_websocket_upgrade()
        # Break the reference cycle: collecting thousands of them as garbage would block the event loop.
        self.parser = None  # type: ignore[assignment]

    def send_400_response(self, msg: str) -> None:
        """Refuse malformed HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST)

    # -- unfinished requests

    def check(self, now: float) -> bool:
        """Refuse a client whose request did not end in time. Returns whether a request is unfinished."""
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
        """Send an error response, unless another response is expected or under way, and close."""
        cycle = self.cycle
        if cycle is None or (cycle.response_complete if self._in_head else not cycle.response_started):
            self.transport.write(_refusal(status))
        self.transport.close()


def _refusal(status: HTTPStatus, body: bytes | None = None) -> bytes:
    body = body or objects.encode(Problem(message=status.phrase))
    again = "retry-after: 5\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{again}connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


class _SmallTransport(asyncio.Transport):
    """The transport as uvicorn sees it when a client connects; it saves 360 bytes for each WebSocket.

    uvicorn reads both addresses from the transport's socket, and uvloop then keeps the socket object and the addresses
    until the connection ends. Without a socket, uvicorn reads them from the transport, which keeps no copies.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """No socket, and addresses as host and port, which is all that uvicorn reads."""
        found = None if name == "socket" else self._transport.get_extra_info(name, default)
        return found[:2] if isinstance(found, tuple) else found


class Handshake(asyncio.Protocol):
    """Answers a request for a WebSocket. uvicorn creates it and passes it the transport and the request's head.

    ========  ======================================  ==================
    state     waits for                               next states
    ========  ======================================  ==================
    created   the head, from uvicorn                  checking
    checking  the next iteration of the event loop    accepted, refused
    accepted  nothing: the engine has the transport   none
    refused   nothing: it has answered and closed     none
    ========  ======================================  ==================
    """

    def __init__(self, endpoint: Endpoint, path: str, *, server_state: Any, **_: Any) -> None:
        self._endpoint = endpoint
        self._path = path
        self._registry: set[Any] = server_state.connections
        self._data = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """uvicorn passes the transport."""
        self._transport = transport
        self._registry.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
        self._registry.discard(self)

    def shutdown(self) -> None:
        """The server stops."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take the head of the request, and answer in the next iteration: uvicorn sets the protocol after this call."""
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
            self._refuse(_refusal(HTTPStatus.BAD_REQUEST))
            return
        response = handshake.accept(requests[0])
        accepted = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
        try:
            session = self._admitted(requests[0]) if accepted else None
        except Refusal as refusal:
            self._refuse(_refusal(HTTPStatus(refusal.status), refusal.body))
            return
        handshake.send_response(response)
        answer = b"".join(handshake.data_to_send())
        if not accepted:
            self._refuse(answer)
            return
        self._transport.write(answer)
        self._registry.discard(self)
        self._transport.set_protocol(self._endpoint.adopt(self._transport, session, self._registry))

    def _refuse(self, answer: bytes) -> None:
        self._transport.write(answer)
        self._transport.close()

    def _admitted(self, request: Request) -> Any:
        path, _, query = request.path.partition("?")
        if path.rstrip("/") != self._path:
            raise Refusal(3, f"Route {request.path} not found", 404)
        origin = request.headers.get("Origin")
        return self._endpoint.admit(query.encode("latin-1", "replace"), origin.encode() if origin else None)
