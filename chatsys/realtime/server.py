"""Socket.IO: python-socketio's server with a client manager that knows one namespace, and a short path for events.

python-socketio keeps the protocol: connecting to a namespace and refusing others, disconnecting, binary packets. Its
seams used here: ``_engineio_server_class``, the client manager, ``_handle_event`` for what came with attachments. An
event without attachments in the default namespace, which is nearly all that chat clients send, is read directly.

Read: python-socketio 5.18, ``async_server``, ``async_manager``, ``packet``. tests/realtime/test_seams.py fails when the
names and the behaviour used here change.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import socketio

from chatsys.realtime.engine import Connection, Data, EngineServer

logger = logging.getLogger("chatsys.realtime")

_library_logger = logging.getLogger("chatsys.realtime.protocol")
_library_logger.setLevel(logging.WARNING)  # below it, python-socketio and python-engineio log every packet

_NAMESPACE = "/"
_ID_DIGITS = 100
_ATTACHMENTS = 10
_NO_ENVIRON: dict[str, Any] = {}

_decode = msgspec.json.Decoder().decode


class ClientEvent(msgspec.Struct, frozen=True, gc=False):
    """What a client sent: the event's name, its first argument (None without one), the acknowledgement asked for."""

    name: str
    payload: Any
    ack_id: int | None


Dispatch = Callable[[Connection, list[ClientEvent]], Awaitable[None]]
"""Handles events of one socket in order."""

Ended = Callable[[Connection], Awaitable[None]]
"""Told once when a connection has ended, after its last event."""


class ClientManager(socketio.AsyncManager):  # type: ignore[misc]
    """Who is connected to the default namespace. Rooms are not kept here: a socket is in one room, which has a hub."""

    def __init__(self) -> None:
        super().__init__()
        self.connections: dict[str, Connection] = {}

    def _by_engine_id(self, eio_sid: str) -> Connection | None:
        connection: Connection | None = self.server.eio.sockets.get(eio_sid)
        return connection

    def get_namespaces(self) -> list[str]:
        """The one namespace."""
        return [_NAMESPACE]

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """A new Socket.IO id for the connection, or None if it has one."""
        connection = self._by_engine_id(eio_sid)
        if connection is None or connection.socket_id is not None:
            return None
        sid: str = self.server.eio.generate_id()
        connection.socket_id = sid
        self.connections[sid] = connection
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        """Nothing to do after :meth:`pre_connect`."""
        return sid

    def is_connected(self, sid: str | None, namespace: str) -> bool:
        """Whether this Socket.IO id is in use."""
        return sid in self.connections

    async def can_disconnect(self, sid: str, namespace: str) -> bool:
        """Whether there is somebody to disconnect."""
        return self.is_connected(sid, namespace)

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """The Socket.IO id of an Engine.IO connection."""
        connection = self._by_engine_id(eio_sid)
        return None if connection is None or namespace != _NAMESPACE else connection.socket_id

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """The Engine.IO connection of a Socket.IO id."""
        connection = self.connections.get(sid)
        return None if connection is None else connection.sid

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """The Engine.IO connection that is about to leave the namespace."""
        return self.eio_sid_from_sid(sid, namespace)

    async def disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        """The connection has left the namespace, and may connect to it again."""
        connection = self.connections.pop(sid, None)
        if connection is not None:
            connection.socket_id = None

    async def trigger_callback(self, sid: str, id: int, data: Any) -> None:  # noqa: A002
        """Nothing: the server asks for no acknowledgements."""


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """python-socketio's server, which hands events in order to ``dispatch`` and tells ``ended`` of disconnects."""

    def __init__(self, dispatch: Dispatch, ended: Ended, **options: Any) -> None:
        self._dispatch = dispatch
        self._ended = ended
        self.manager: ClientManager
        self.eio: EngineServer
        super().__init__(
            client_manager=ClientManager(),
            async_handlers=False,
            logger=_library_logger,
            engineio_logger=_library_logger,
            handle_messages=self._messages,
            handle_end=self._end,
            **options,
        )
        self.on("connect", _accept)
        self.on("disconnect", self._left_namespace)

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    async def _messages(self, connection: Connection, batch: deque[Data]) -> None:
        """Handle Socket.IO packets of one socket; runs of plain events go to ``dispatch`` together.

        A packet is let go as soon as it is read: the store may take its time, and the allocator would put what is made
        meanwhile, and waits for slow readers, above it.
        """
        events: list[ClientEvent] = []
        while batch:
            event = self._plain_event(connection, batch[0])
            if event is not None:
                del batch[0]
                events.append(event)
                continue
            if events:
                await self._events(connection, events)
                events = []
            await self._protocol_packet(connection, batch.popleft())
        if events:
            await self._events(connection, events)

    def _plain_event(self, connection: Connection, data: Data) -> ClientEvent | None:
        """The event in a packet without attachments that needs nothing of python-socketio."""
        if isinstance(data, str) and data[:1] == "2" and connection.sid not in self._binary_packet:
            return read_event(data)
        return None

    async def _events(self, connection: Connection, events: list[ClientEvent]) -> None:
        if connection.socket_id is not None:
            await self._dispatch(connection, events)

    async def _protocol_packet(self, connection: Connection, data: Data) -> None:
        """Whatever is not a plain event: python-socketio knows it, or refuses it."""
        try:
            self.environ[connection.sid] = _NO_ENVIRON
            await self._handle_eio_message(connection.sid, data)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            self._binary_packet.pop(connection.sid, None)
            logger.info("%s: a malformed packet was dropped: %s", connection.sid, error)
        finally:
            self.environ.pop(connection.sid, None)
        waiting = self._binary_packet.get(connection.sid)
        if waiting is not None and waiting.attachment_count > _ATTACHMENTS:
            del self._binary_packet[connection.sid]

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:  # noqa: A002
        connection = self.eio.sockets.get(eio_sid)
        event = as_event(data, id)
        if connection is not None and event is not None and (namespace or _NAMESPACE) == _NAMESPACE:
            await self._events(connection, [event])

    async def _left_namespace(self, sid: str, reason: str) -> None:
        connection = self.manager.connections.get(sid)
        if connection is not None:
            await self._ended(connection)

    async def _end(self, connection: Connection) -> None:
        self._binary_packet.pop(connection.sid, None)
        if connection.socket_id is None:
            return
        try:
            await self._ended(connection)
        except Exception:
            logger.exception("%s: the end was not handled", connection.sid)
        await self.manager.disconnect(connection.socket_id, _NAMESPACE)


async def _accept(sid: str, environ: dict[str, Any], auth: Any) -> None:
    """Connecting needs no credentials (contract §8.1)."""


def read_event(text: str) -> ClientEvent | None:
    """An event of the default namespace without attachments (``2[...]`` or ``2<id>[...]``); None if it isn't one."""
    start = text.find("[", 1, _ID_DIGITS + 2)
    digits = text[1:start]
    if start < 0 or (digits and not (digits.isascii() and digits.isdigit())):
        return None
    try:
        data = _decode(text[start:])
    except (msgspec.DecodeError, RecursionError):
        data = _with_surrogates(text[start:])
    return as_event(data, int(digits) if digits else None)


def as_event(data: Any, ack_id: int | None) -> ClientEvent | None:
    """The event in a packet's data: a list whose first element is its name; None if it isn't one."""
    if isinstance(data, list) and data and isinstance(data[0], str):
        return ClientEvent(data[0], data[1] if len(data) > 1 else None, ack_id)
    return None


def _with_surrogates(text: str) -> Any:
    """What only the standard library reads: escaped lone surrogates, which JavaScript sends and RFC 8259 allows."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
