"""Socket.IO 5 on the engine: namespaces, events in order of arrival, attachments.

One task for each connection handles the packets in its inbox in order, and ends when the inbox is empty. So an idle
connection has no task. While too many packets wait, the server stops reading from that client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection
from functools import partial
from typing import Any, Protocol

from chatsys import logs
from chatsys.engine.connection import Connection, Inbox
from chatsys.engine.outbound import State
from chatsys.protocol.events import DEFAULT, ClientEvent, Connect, Ignored, Incoming, Partial, read_packet, refused
from chatsys.protocol.events import connected as accepted
from chatsys.protocol.packets import Data, Malformed

logger = logging.getLogger("chatsys.engine")

BATCH = 16
"""Maximum events of one connection handled before other tasks run."""

INBOX_MOST = 256
"""Maximum waiting packets of one connection before the server stops reading from it."""


class Application(Protocol):
    """The application served over Socket.IO. Calls for the same connection are never concurrent."""

    namespaces: Collection[str]

    def knows(self, event: str) -> bool:
        """Whether the application handles events of that name. Other events are dropped on arrival."""

    def connected(self, connection: Connection, namespace: str, auth: Any) -> None:
        """A client has connected to a namespace. The CONNECT packet is already answered."""

    def events(self, connection: Connection, batch: list[ClientEvent]) -> Awaitable[None]:
        """Handle events of one client in order. The client is connected to their namespaces."""

    async def left(self, connection: Connection, namespace: str) -> None:
        """A client has left a namespace or disconnected. Called after its last event; ``socket_id`` is still set."""

    def drained(self, connection: Connection) -> None:
        """A client that was behind has received everything that was waiting for it."""


class SocketLayer:
    """Turns Socket.IO packets into events for an application."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._knows = application.knows

    def message(self, connection: Connection, data: Data) -> None:
        """Handle a packet, or an attachment of the previous packet."""
        partial = connection.partial
        if partial is not None:
            self._attachment(connection, partial, data)
        elif isinstance(data, bytes):
            raise Malformed("an attachment without an event")
        else:
            engine = connection.engine
            read = read_packet(data, engine.loop.time(), engine.limits.attachments)
            if isinstance(read, Partial):
                connection.partial = read
                engine.wheel.watch(connection)
            else:
                self._incoming(connection, read, len(data))

    def _attachment(self, connection: Connection, partial: Partial, data: Data) -> None:
        if isinstance(data, str):
            raise Malformed("text instead of an attachment")
        engine = connection.engine
        engine.memory.take(len(data))
        whole = partial.add(data)
        if partial.size > engine.limits.byte_budget:
            raise Malformed("the attachments are too large")
        if whole is not None:
            connection.forget_partial()
            self._incoming(connection, whole, partial.size)
        elif engine.memory.refuses(partial.size):
            connection.overflowed()

    def _incoming(self, connection: Connection, read: Incoming, size: int) -> None:
        inbox = connection.inbox
        if isinstance(read, ClientEvent):
            if not self._knows(read.name) or (inbox is None and self._socket_id(connection, read.namespace) is None):
                return
        elif isinstance(read, Connect):
            if inbox is None:
                self._connect(connection, read)
                return
        elif isinstance(read, Ignored):
            return
        engine = connection.engine
        now = engine.loop.time()
        if inbox is None:
            inbox = connection.inbox = Inbox(now)
            if engine.starts.passes(now):
                self._start(connection, inbox)
            else:  # starting thousands of tasks at once would block the event loop
                engine.starts.add(partial(self._start, connection, inbox))
        inbox.add(read, size, now)
        engine.memory.take(size)
        if not connection.paused and self._full(connection, inbox):
            connection.pause()

    def _full(self, connection: Connection, inbox: Inbox) -> bool:
        return len(inbox.packets) > INBOX_MOST or inbox.size > connection.engine.limits.max_packet

    def _start(self, connection: Connection, inbox: Inbox) -> None:
        connection.engine.loop.create_task(self._work(connection, inbox))

    async def _work(self, connection: Connection, inbox: Inbox) -> None:
        """Handle a connection's packets until none are left, then its end if it has ended."""
        logs.mark(socket=connection.sid)
        while inbox.packets:
            batch, size, done = inbox.take(), inbox.size, 0
            while done < len(batch):
                run = batch[done : _end_of_run(batch, done)] if len(batch) > 1 else batch
                done += len(run)
                try:
                    if isinstance(run[0], ClientEvent):
                        events = [one for one in run if self._socket_id(connection, one.namespace) is not None]
                        if events:
                            await self._application.events(connection, events)
                    elif isinstance(run[0], Connect):
                        self._connect(connection, run[0])
                    else:
                        await self._leave(connection, run[0].namespace)
                except Exception:
                    logger.exception("%s: could not handle an event", connection.sid)
                if done < len(batch):
                    await asyncio.sleep(0)
            inbox.size -= size
            connection.engine.memory.take(-size)
            if connection.paused and not self._full(connection, inbox):
                connection.resume()
            if inbox.packets:
                await asyncio.sleep(0)
        connection.inbox = None
        if connection.closing:
            await self._end(connection)

    # -- namespaces

    def _socket_id(self, connection: Connection, namespace: str) -> str | None:
        if namespace == DEFAULT:
            return connection.socket_id
        return (connection.namespaces or {}).get(namespace)

    def _connect(self, connection: Connection, packet: Connect) -> None:
        namespace = packet.namespace.partition("?")[0]
        if connection.closing or self._socket_id(connection, namespace) is not None:
            return
        if namespace not in self._application.namespaces:
            connection.send(refused(namespace, "Invalid namespace"))
            return
        socket_id = connection.engine.new_id()
        if namespace == DEFAULT:
            connection.socket_id = socket_id
        else:
            connection.namespaces = {**(connection.namespaces or {}), namespace: socket_id}
        connection.opened = 0.0
        connection.send(accepted(namespace, socket_id))
        self._application.connected(connection, namespace, packet.auth)

    async def _leave(self, connection: Connection, namespace: str) -> None:
        if self._socket_id(connection, namespace) is None:
            return
        try:
            await self._application.left(connection, namespace)
        finally:
            if namespace == DEFAULT:
                connection.socket_id = None
            elif connection.namespaces:
                connection.namespaces.pop(namespace, None)
                connection.namespaces = connection.namespaces or None
            connection.opened = connection.engine.loop.time()
            connection.engine.wheel.watch(connection)

    # -- the end

    def ended(self, connection: Connection) -> None:
        """Handle the remaining packets, then the end."""
        if connection.inbox is None:
            if connection.socket_id is None and connection.namespaces is None:
                connection.state = State.CLOSED
            else:
                connection.inbox = Inbox(connection.engine.loop.time())
                self._start(connection, connection.inbox)

    async def _end(self, connection: Connection) -> None:
        for namespace in [*(connection.namespaces or ()), DEFAULT]:
            try:
                await self._leave(connection, namespace)
            except Exception:
                logger.exception("%s: could not handle the end of the connection", connection.sid)
        connection.state = State.CLOSED

    def drained(self, connection: Connection) -> None:
        """A client that was behind has received everything that was waiting for it."""
        self._application.drained(connection)


def _end_of_run(batch: list[Any], start: int) -> int:
    """The end index of the run of at most BATCH events that begins at ``start``."""
    end = start + 1
    if isinstance(batch[start], ClientEvent):
        while end < len(batch) and end < start + BATCH and isinstance(batch[end], ClientEvent):
            end += 1
    return end
