"""The engine without a network and without waiting: an event loop that the test runs, and recording sockets."""

from __future__ import annotations

import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from chatsys.engine.connection import Connection
from chatsys.engine.engine import WEBSOCKET, Engine
from chatsys.engine.shared import ConnectionLimits
from chatsys.engine.sockets import SocketLayer
from chatsys.protocol.events import DEFAULT, ClientEvent
from chatsys.protocol.packets import Outgoing


class FakeLoop:
    """An event loop whose clock and iterations the test controls. A task runs until it awaits something unfinished."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Any, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._tasks: list[Coroutine[Any, Any, None]] = []

    def close(self) -> None:
        """Close the tasks that still wait."""
        for coro in self._tasks:
            coro.close()

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> None:
        self._ready.append(lambda: callback(*args))

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        timer = Timer()
        heapq.heappush(self._timers, (self._now + delay, next(self._numbers), timer, lambda: callback(*args)))
        return timer

    def create_task(self, coro: Coroutine[Any, Any, None], /) -> None:
        context = contextvars.copy_context()

        def step() -> None:
            try:
                waits_for = context.run(coro.send, None)
            except StopIteration:
                return
            if waits_for is None:  # asyncio.sleep(0)
                self.call_soon(step)
            else:
                waits_for.add_done_callback(lambda _: self.call_soon(step))

        self._tasks.append(coro)
        self.call_soon(step)

    def run_once(self) -> None:
        """Run each callback that is ready now, once."""
        for _ in range(len(self._ready)):
            self._ready.popleft()()

    def settle(self) -> None:
        """Run iterations until nothing is ready."""
        while self._ready:
            self.run_once()

    @property
    def idle(self) -> bool:
        """Whether nothing is ready."""
        return not self._ready

    def next_due(self) -> float:
        return self._timers[0][0]

    def pass_time(self, seconds: float) -> None:
        """Fire the timers of the next ``seconds``, and run what they make ready."""
        until = self._now + seconds + 1e-9
        self.settle()
        while self._timers and self._timers[0][0] <= until:
            self._now, _, timer, callback = heapq.heappop(self._timers)
            if not timer.cancelled:
                callback()
            self.settle()
        self._now = max(self._now, until)


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Socket:
    """Stands for a WebSocket and records each write; ``held`` counts the bytes that its transport could not send."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.stalled = False
        self.closing = False
        self.paused = False
        self.held = 0
        self.close_code = 0
        self.receiver: Any = None

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def unsent(self) -> int:
        return self.held

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closing, self.close_code = True, code

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def sent(self) -> bytes:
        return b"".join(self.writes)

    def texts(self) -> list[str]:
        """Return the packets written so far."""
        return server_texts(self.sent())


class Application:
    """Records what the engine passes on; ``answer`` may do more with it."""

    namespaces = (DEFAULT, "/custom")

    def __init__(self) -> None:
        self.batches: list[list[ClientEvent]] = []
        self.auths: list[tuple[str, Any]] = []
        self.gone: list[str] = []
        self.caught_up = 0
        self.gate: Any = None
        self.answer: Callable[[Connection, ClientEvent], None] = lambda *_: None

    @property
    def names(self) -> list[str]:
        return [event.name for batch in self.batches for event in batch]

    def knows(self, event: str) -> bool:
        return event != "nobody knows"

    def connected(self, connection: Connection, namespace: str, auth: Any) -> None:
        self.auths.append((namespace, auth))

    async def events(self, connection: Connection, batch: list[ClientEvent]) -> None:
        self.batches.append(batch)
        if self.gate is not None:
            await self.gate
        for event in batch:
            self.answer(connection, event)

    async def left(self, connection: Connection, namespace: str) -> None:
        self.gone.append(namespace)

    def drained(self, connection: Connection) -> None:
        self.caught_up += 1


def server_texts(stream: bytes) -> list[str]:
    """Return the messages in what a server has written, and ``close <code>``."""
    texts, start = list[str](), 0
    while start < len(stream):
        length, head = stream[start + 1], start + 2
        if length >= 126:
            head += 2 if length == 126 else 8
            length = int.from_bytes(stream[start + 2 : head], "big")
        payload = stream[head : head + length]
        if stream[start] & 0x0F == 0x8:
            texts.append(f"close {int.from_bytes(payload[:2], 'big')}")
        elif stream[start] & 0x0F == 0xA:
            texts.append("pong " + payload.decode())
        else:
            texts.append(payload.decode("utf-8", "backslashreplace"))
        start = head + length
    return texts


def out(text: str) -> Outgoing:
    """Return a packet with that text."""
    return Outgoing(b"4" + text.encode())


BUDGET = 10_000
LIMITS = ConnectionLimits(byte_budget=BUDGET, memory=1_000_000)


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    loop = FakeLoop()
    yield loop
    loop.close()


@pytest.fixture
def application() -> Application:
    return Application()


def make_engine(application: Application, loop: FakeLoop, limits: ConnectionLimits = LIMITS) -> Engine:
    numbers = itertools.count(1)
    engine = Engine(SocketLayer(application), limits, loop, new_id=lambda: f"id{next(numbers)}")
    engine.wheel.start()
    return engine


@pytest.fixture
def engine(application: Application, loop: FakeLoop) -> Engine:
    return make_engine(application, loop)


@pytest.fixture
def connection(engine: Engine) -> Connection:
    """A connection whose handshake has not been sent yet."""
    return engine.open("polling")


@pytest.fixture
def socket(engine: Engine) -> Socket:
    """A server's end of a WebSocket in the default namespace, with ``receiver`` as its connection."""
    connection, socket = engine.open(WEBSOCKET), Socket()
    socket.receiver = connection
    connection.adopt(socket)
    connection.received("40")
    connection.flush()
    socket.writes.clear()
    return socket
