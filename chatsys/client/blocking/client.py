"""A lean Socket.IO 5 client on gevent: connect, emit, call, handlers, namespaces, reconnect."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.hub import get_hub

from chatsys.client.address import ServerAddress
from chatsys.client.blocking.transports import TRANSPORTS
from chatsys.client.errors import AckTimeout, ConnectFailed, ConnectionLost, ConnectRefused, SocketIOError
from chatsys.client.namespace import Acknowledged, Namespace, nothing
from chatsys.client.session import ClientSession
from chatsys.client.transport import TransportError

# The official client's defaults: https://socket.io/docs/v4/client-options/#reconnectiondelay
BACKOFF_FIRST = 1.0
BACKOFF_MOST = 5.0
BACKOFF_SPREAD = 0.5


def backoff() -> Iterator[float]:
    """Seconds before each further attempt: 1, 2, 4 and then always 5, each longer or shorter by up to a half."""
    delay = BACKOFF_FIRST
    while True:
        yield delay * random.uniform(1 - BACKOFF_SPREAD, 1 + BACKOFF_SPREAD)
        delay = min(delay * 2, BACKOFF_MOST)


class BlockingNamespace(Namespace):
    """A namespace whose calls block."""

    __slots__ = ()

    def call(self, event: str, *args: object, timeout: float | None = None) -> Acknowledged:
        """Send an event and wait for its acknowledgement. Raises AckTimeout or ConnectionLost."""
        result = AsyncResult()
        self.emit(event, *args, then=result.set)
        number = self.last_ack
        patience = self.connection.timeout if timeout is None else timeout
        try:
            answer = result.get(timeout=patience)
        except gevent.Timeout as error:
            raise AckTimeout(f"{event}: no acknowledgement in {patience:g} s") from error
        finally:
            self.acks.pop(number, None)
        if isinstance(answer, SocketIOError):
            raise answer
        return answer

    def connect(self) -> float:
        """Join this namespace on the existing connection; return the milliseconds until the server's consent.

        Raises ConnectRefused, or ConnectFailed without an answer or a connection.
        """
        self.wanted = True
        begun = time.perf_counter()
        try:
            with gevent.Timeout(self.connection.timeout, ConnectFailed("connect: no answer to the namespace")):
                _entered(self, _expected(self))
        except ConnectionLost as error:
            raise ConnectFailed(str(error)) from error
        return (time.perf_counter() - begun) * 1000


def _expected(namespace: Namespace) -> AsyncResult:
    answer = AsyncResult()
    namespace.expect(answer.set)
    return answer


def _entered(namespace: Namespace, answer: AsyncResult) -> None:
    """Request to join, and wait for the answer. Raises the answer's error."""
    try:
        namespace.enter()
        consent = answer.get()
    finally:
        namespace.expect(nothing)
    if isinstance(consent, SocketIOError):
        raise consent


class SocketIOClient(BlockingNamespace, ClientSession):
    """One Socket.IO connection, and its first namespace; ``of`` gives others.

    ``on_failure(what, error)`` and ``on_upgrade(ms)`` run in the event loop and must not wait. ``on_reconnect()`` runs
    in its own greenlet and may wait; ``disconnected_ms`` is then how long there was no connection.

    Like the official client, it reconnects by itself after a lost connection, but not after the server has disconnected
    it; then call :meth:`connect`.
    """

    __slots__ = (
        "_reconnecting", "_silence", "_transport_class", "_watchdog", "disconnected_ms", "on_reconnect", "reconnect",
    )  # fmt: skip

    def __init__(
        self,
        url: str,
        *,
        transport: str = "websocket",
        namespace: str = "/",
        path: str = "/socket.io/",
        auth: object = None,
        reconnect: bool = True,
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        verify: bool = True,
        server_name: str | None = None,
    ) -> None:
        """``url`` and the last five are as for ServerAddress; ``timeout`` (seconds) applies to connecting and
        to each :meth:`call`. Raises ValueError for an invalid address."""
        address = ServerAddress(
            url, path=path, headers=headers, cookies=cookies, ca_file=ca_file, verify=verify, server_name=server_name
        )
        ClientSession.__init__(self, address, namespace, auth, timeout)
        self._transport_class = TRANSPORTS[transport]
        self._reconnecting: gevent.Greenlet | None = None
        self._watchdog: Any = None
        self._silence = 45.0
        self.reconnect = reconnect
        self.disconnected_ms = 0.0
        self.on_reconnect: Callable[[], None] = nothing

    def of(self, namespace: str, auth: object = None) -> BlockingNamespace:
        """Another namespace on this connection: :meth:`connect` joins it, or its own ``connect`` does later."""
        found = self.namespaces.get(namespace)
        if not isinstance(found, BlockingNamespace):
            found = self.namespaces[namespace] = BlockingNamespace(self, namespace, auth)
        return found

    def connect(self) -> float:
        """Connect, and join all namespaces; return the milliseconds until the server's last consent.

        Raises ConnectRefused if the server refuses, or ConnectFailed.
        """
        for namespace in self.namespaces.values():
            namespace.wanted = True
        return self._connect()

    def _connect(self) -> float:
        begun = time.perf_counter()
        expected = [(namespace, _expected(namespace)) for namespace in self._begin()]
        transport = self._transport = self._transport_class(self.address, self.hooks)
        try:
            with gevent.Timeout(self.timeout, TransportError(f"connect: no answer in {self.timeout:g} s")):
                self._silence = transport.open(self.timeout).silence
                for namespace, answer in expected:
                    _entered(namespace, answer)
        except BaseException as error:
            transport.close()
            ClientSession._lost(self, "connect failed")
            if isinstance(error, TransportError | ConnectionLost):
                raise ConnectFailed(str(error)) from error
            raise
        taken = (time.perf_counter() - begun) * 1000
        self._watch()
        return taken

    def disconnect(self) -> None:
        """Leave and close; no reconnect, no ``on_disconnect``."""
        self._finish(self._leave())

    def vanish(self) -> None:
        """Drop the connection without notice, as a phone in a tunnel does; no reconnect, no ``on_disconnect``."""
        self._leave()
        self._finish()

    # -- when the connection ends

    def _finish(self, farewell: bytes = b"") -> None:
        if self._reconnecting is not None:
            self._reconnecting.kill(block=False)
            self._reconnecting = None
        self._unwatch()
        super()._finish(farewell)

    def _watch(self) -> None:
        """Notice a server that falls silent: it must ping within interval + timeout."""
        self._unwatch()
        self.last_received = time.monotonic()
        self._watchdog = get_hub().loop.timer(self._silence, self._silence / 4)
        self._watchdog.start(self._still_there)

    def _still_there(self) -> None:
        if time.monotonic() - self.last_received > self._silence:
            self._hang_up(f"no ping for {self._silence:g} s")

    def _unwatch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog.close()
            self._watchdog = None

    def _lost(self, cause: str) -> None:
        again = self._watchdog is not None and self.reconnect and self._reconnecting is None
        self._unwatch()
        super()._lost(cause)
        if again:
            self._reconnecting = gevent.spawn(self._come_back, time.monotonic())

    def _come_back(self, since: float) -> None:
        try:
            for delay in backoff():
                gevent.sleep(delay)
                try:
                    self._connect()
                    break
                except ConnectRefused:
                    raise
                except ConnectFailed as error:
                    self.on_failure("reconnect", error)
            self.disconnected_ms = (time.monotonic() - since) * 1000
            self._reconnecting = None
            self.on_reconnect()
        except Exception as error:
            self.on_failure("reconnect", error)
        finally:
            self._reconnecting = None
