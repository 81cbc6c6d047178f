"""The bus of one server. It reconnects to the broker whenever the connection is lost or messages stop arriving.

Every third of a lease, the server sends itself a random token. If the token does not arrive, the bus drops the
connection and opens another one, and the server reads the store for what it missed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from chatsys import metrics
from chatsys.bus.contract import Broker, Bus, Line, Receiver
from chatsys.bus.inbox import BusInbox
from chatsys.bus.interest import Interest, channel_of
from chatsys.bus.messages import Envelope
from chatsys.bus.outbox import Outbox
from chatsys.errors import BusUnavailable

Outcome = TypeVar("Outcome")
logger = logging.getLogger("chatsys.bus")

RETRY = (0.1, 0.2, 0.5, 1.0)
"""Seconds before the first, second, ... attempt to reconnect."""

CLOSE_WITHIN = 1.0
"""Seconds that a stopping server waits for the broker to receive what is queued, and then for the connection to end."""


class BrokerBus(Bus):
    """A bus over any broker. Create it with :func:`open_broker_bus`. ``lease`` and ``connect_timeout`` in seconds."""

    def __init__(
        self, broker: Broker, key: bytes, server: str, receiver: Receiver, *, lease: float, connect_timeout: float
    ) -> None:
        self._broker = broker
        self._server = server
        self._receiver = receiver
        self._lease = lease
        self._connect_timeout = connect_timeout
        self._timeout = min(connect_timeout, lease / 3)
        envelope = Envelope(key)
        self._outbox = Outbox(envelope, server, broker.message_bytes)
        self._interest = Interest(receiver.missed)
        self._inbox = BusInbox(
            envelope,
            server,
            receiver,
            room_of=self._interest.room_of,
            on_token=self._token_arrived,
            on_sender=self._learn,
        )
        self._others: dict[str, tuple[str, ...]] = {}
        self._token = ""
        self._token_came = asyncio.Event()
        self._token_at = time.monotonic()
        self._failures = 0
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # -- for the server

    @property
    def deaf(self) -> bool:
        """Whether the last token arrived more than a lease ago. In a working bus it is at most half a lease old."""
        return time.monotonic() - self._token_at > self._lease

    def enter(self, room: str) -> asyncio.Event | None:
        """Subscribe, if the broker has a channel for each room."""
        self._others.setdefault(room, ())
        return self._interest.enter(room) if self._broker.rooms else None

    def leave(self, room: str) -> None:
        """Unsubscribe, if the broker has a channel for each room."""
        self._others.pop(room, None)
        if self._broker.rooms:
            self._interest.leave(room)
            self._inbox.forget(channel_of(room))

    def others(self, room: str, servers: Sequence[str] | None) -> Sequence[str]:
        """Cache the store's newest answer for the rooms that this server has entered."""
        if servers is None:
            return self._others.get(room, ())
        others = tuple([server for server in servers if server != self._server])
        if room in self._others:
            self._others[room] = others
        return others

    def send(self, room: str, event: bytes, others: Sequence[str]) -> None:
        """Queue the event."""
        for channel in [channel_of(room)] if self._broker.rooms else others:
            self._outbox.add(channel, room, event)

    # -- connecting and reconnecting

    async def started(self) -> None:
        """Wait until the first token arrives. Raises BusUnavailable if the first connection fails before that."""
        await self._started

    async def live(self) -> None:
        """Keep a connection until cancelled, or until the first one fails."""
        while True:
            try:
                reason = await self._connection()
            except Exception as error:
                logger.exception("The bus between servers failed and is restarted")
                reason = error
            if not self._started.done():
                self._started.set_exception(self._explained(reason))
                return
            if not self._failures:
                why = str(reason) or type(reason).__name__
                logger.warning("The bus between servers (%s) is unavailable, reconnecting: %s", self._broker.name, why)
            await asyncio.sleep(RETRY[min(self._failures, len(RETRY) - 1)])
            self._failures += 1

    async def drained(self) -> None:
        """Wait until the broker has received everything."""
        await self._outbox.emptied()

    async def _connection(self) -> BaseException:
        """Open a connection, use it until it ends, and return why it ended."""
        deadline = asyncio.get_running_loop().time() + self._connect_timeout
        line = await self._opened()
        if isinstance(line, BaseException):
            return line
        tasks = [_begun(work) for work in (line.run(), self._publish(line), self._converse(line, deadline))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(_reason(task) for task in tasks if task in done)
        finally:
            self._interest.down()
            line.abort()
            await _ended(tasks)
            await _ended([_begun(line.close())])

    async def _opened(self) -> Line | BaseException:
        """Open a line. Returns the error if that fails.

        It runs in its own task because a broker's library may cancel the task that calls it.
        """
        opening = _begun(self._broker.open(self._inbox.take, self._timeout))
        try:
            await asyncio.wait([opening], timeout=self._connect_timeout)
        finally:
            late = not opening.done()
            if late:
                await _ended([opening])
        if late:
            return TimeoutError(f"it did not answer within {self._connect_timeout:g} seconds")
        if opening.cancelled() or opening.exception() is not None:
            return _reason(opening)
        return opening.result()

    async def _converse(self, line: Line, deadline: float) -> None:
        async with asyncio.timeout_at(deadline):
            await line.subscribe([self._server])
            await self._interest.up(line)
        await self._prove_life(deadline - asyncio.get_running_loop().time())
        self._up()
        follow = _begun(self._interest.follow(line))
        try:
            while not follow.done():
                await asyncio.wait([follow], timeout=self._lease / 3)
                await self._prove_life(self._timeout)
            raise _reason(follow)
        finally:
            follow.cancel()

    async def _publish(self, line: Line) -> None:
        while True:
            await self._outbox.filled()
            await asyncio.sleep(0)  # events of the same event loop iteration are sent together
            await line.publish(self._outbox.take())
            self._outbox.taken()

    async def _prove_life(self, within: float) -> None:
        self._token = secrets.token_hex(16)
        self._token_came.clear()
        self._outbox.add_token(self._server, self._token)
        try:
            async with asyncio.timeout(within):
                await self._token_came.wait()
        except TimeoutError as error:
            raise TimeoutError("messages sent to it do not come back") from error

    def _token_arrived(self, token: str) -> None:
        if token == self._token:
            self._token_at = time.monotonic()
            self._token_came.set()

    def _learn(self, server: str, room: str) -> None:
        known = self._others.get(room)
        if known is not None and server not in known:
            self._others[room] = (*known, server)

    def _up(self) -> None:
        if not self._started.done():
            self._started.set_result(None)
            return
        self._failures = 0
        metrics.bus_outages.inc()
        logger.info("The bus between servers (%s) works again; every room is read again", self._broker.name)
        self._receiver.missed(None)

    def _explained(self, reason: BaseException) -> BusUnavailable:
        if isinstance(reason, BusUnavailable):
            return reason
        why = str(reason) or f"it did not answer within {self._connect_timeout:g} seconds"
        return BusUnavailable(
            f"The bus between servers ({self._broker.name}) can't be used: {why}.", hint=self._broker.remedy
        )


def _reason(task: asyncio.Task[Any]) -> BaseException:
    """Why a task ended that was meant to run until cancelled."""
    if task.cancelled():
        return ConnectionError("it was cancelled by its library")
    return task.exception() or ConnectionError("it ended")


def _begun(work: Coroutine[Any, Any, Outcome]) -> asyncio.Task[Outcome]:
    """Start a task. asyncio does not log its error if nobody reads it, for example while the bus stops."""
    task = asyncio.create_task(work)
    task.add_done_callback(_noted)
    return task


def _noted(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Give tasks a few iterations of the event loop to end, then cancel them. Their errors are known already."""
    for _ in range(5):  # an aborted connection needs a few iterations to fail pending calls
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CLOSE_WITHIN)


@asynccontextmanager
async def open_broker_bus(
    broker: Broker, key: bytes, server: str, receiver: Receiver, *, lease: float, connect_timeout: float
) -> AsyncIterator[BrokerBus]:
    """The bus of ``server`` over ``broker``, connected and working. Raises BusUnavailable if it can't connect."""
    bus = BrokerBus(broker, key, server, receiver, lease=lease, connect_timeout=connect_timeout)
    life = asyncio.create_task(bus.live())
    try:
        await bus.started()
        yield bus
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await bus.drained()
    finally:
        life.cancel()
        await asyncio.wait([life])
