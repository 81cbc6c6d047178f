"""A Locust user that speaks Socket.IO, for any server, not only for a chat.

::

    from locust import between, task
    from chatsys.loadtesting import SocketIOUser

    class Shopper(SocketIOUser):
        host = "http://localhost:3000"
        wait_time = between(1, 5)

        def on_start(self):
            self.io.on("price", self.timed_push("price", stamp="sentAt"))
            self.connect()

        @task
        def buy(self):
            self.call("buy", {"item": 7})
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent import GreenletExit
from gevent.pool import Group
from locust import User, events
from locust.env import Environment
from locust.runners import STATE_CLEANUP, STATE_STOPPED, STATE_STOPPING

from chatsys.client.blocking.client import BlockingNamespace, SocketIOClient, backoff
from chatsys.client.errors import ConnectFailed, ConnectRefused, SocketIOError
from chatsys.client.namespace import Acknowledged
from chatsys.loadtesting.figures import PUSH, Figures

FIGURES = Figures()
"""The timings of this process; attached to Locust when it starts."""

LOST = ("socket", "connection")
"""The row of connections that the user did not end itself."""
CLOCKS_DIFFER = "not timed: the stamp is later than this machine's clock; the sender's clock is ahead"
ARRIVALS = ("constant", "poisson")
_OVER = (STATE_STOPPING, STATE_CLEANUP, STATE_STOPPED)


@events.init.add_listener
def _attach(environment: Environment, **_: Any) -> None:
    FIGURES.attach(environment)


def gap(arrival: str, rate: float, rng: random.Random) -> float:
    """Seconds until the next send of an open loop at ``rate`` per second: constant, or exponential for ``poisson``."""
    return 1 / rate if arrival == "constant" else rng.expovariate(rate)


class UserEnded(GreenletExit):
    """This user can't continue; Locust's table shows why. Unlike StopUser it leaves no traceback in Locust's log."""


class SocketIOUser(User):
    """A Locust user with one Socket.IO connection, ``self.io``.

    Locust's table shows ``connect``, ``reconnect``, ``ack <event>``, ``push <event>`` and ``push all pushes`` with
    their times. What can't be timed is shown as a failure with its cause, or not at all.
    """

    abstract = True
    transport = "websocket"
    """``websocket``, ``polling``, or ``upgrade``: polling that becomes a WebSocket, as in a browser."""
    namespace = "/"
    socketio_path = "/socket.io/"
    """Appended to the path of the host, if it has one. The host's query is sent with each request."""
    auth: object = None
    timeout = 10.0
    """Seconds, for connecting and for each acknowledgement."""
    headers: Mapping[str, str] = {}
    """Headers of each request, such as ``Origin`` or ``Authorization``."""
    cookies: Mapping[str, str] = {}
    """Initial cookies; each user keeps the cookies that the server sets, as a browser does."""
    ca_file: str | None = None
    """File of certificate authorities (PEM) that replace the system's."""
    verify = True
    """False accepts any certificate, even a self-signed one."""
    server_name: str | None = None
    """The name for SNI and the certificate check, if the host is an IP address."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        named = ("transport", "namespace", "auth", "timeout", "headers", "cookies", "ca_file", "verify", "server_name")
        options = {name: getattr(self, name) for name in named}
        self.io = SocketIOClient(self.host or environment.host, path=self.socketio_path, **options)
        self._sending = Group()
        self.io.on_failure = self.failed
        self.io.on_disconnect = self.lost
        self.io.on_reconnect = self._back
        self.io.on_upgrade = FIGURES.timing("upgrade", "websocket").add

    def connect(self) -> None:
        """Connect and time it. After a failure count it and retry with back-off; a refusal ends this user."""
        for delay in backoff():
            try:
                FIGURES.timing("connect", self.transport).add(self.io.connect())
                return
            except ConnectFailed as error:
                FIGURES.failure("connect", self.transport, error)
                if isinstance(error, ConnectRefused) or self.environment.runner.state in _OVER:
                    raise UserEnded from error
            gevent.sleep(delay)

    def emit(self, event: str, *args: object, via: BlockingNamespace | None = None) -> None:
        """Send without an acknowledgement, so there is nothing to time. A lost connection is a failure.

        ``via`` is a namespace from ``self.io.of(...)``, here and in ``call`` and ``send`` (default: the user's own).
        """
        try:
            (via or self.io).emit(event, *args)
        except SocketIOError as error:
            FIGURES.failure("emit", event, error)

    def call(self, event: str, *args: object, via: BlockingNamespace | None = None) -> Any:
        """Send an event, wait for the acknowledgement and time it.

        Returns its argument, or a tuple if it has several, such as ``(error, result)``. Returns None if it has none,
        and after a failure.
        """
        try:
            answer: Acknowledged = (via or self.io).call(event, *args)
        except SocketIOError as error:
            FIGURES.failure("ack", event, error)
            return None
        FIGURES.timing("ack", event).add(answer.ms)
        return answer.args[0] if len(answer.args) == 1 else tuple(answer.args) or None

    def send(
        self, event: str, *args: object, rate: float, arrival: str = "constant", via: BlockingNamespace | None = None
    ) -> gevent.Greenlet:
        """Send an event ``rate`` times per second from now on, in an open loop: slow acknowledgements do not delay it.

        ``arrival`` is ``constant`` or ``poisson``. A callable argument is called for each event. In Locust's table
        ``ack <event>`` counts from the due time (response time) and ``ack <event> (service)`` from the actual send. It
        stops when the user stops or the returned greenlet is killed. Raises ValueError for an invalid rate or arrival.
        """
        if arrival not in ARRIVALS or not rate > 0:
            expected = f"the rate must be above 0, the arrival {' or '.join(ARRIVALS)}"
            raise ValueError(f"{rate!r} a second, {arrival!r}: {expected}")
        return self._sending.spawn(self._keep_sending, arrival, rate, via or self.io, event, args)

    def _keep_sending(self, arrival: str, rate: float, via: BlockingNamespace, event: str, args: Any) -> None:
        rng, due = random.Random(), time.perf_counter()
        while True:
            due += gap(arrival, rate, rng)
            gevent.sleep(max(0.0, due - time.perf_counter()))
            self._sending.spawn(self._send_once, due, via, event, args)

    def _send_once(self, due: float, via: BlockingNamespace, event: str, args: tuple[object, ...]) -> None:
        late = (time.perf_counter() - due) * 1000
        try:
            answer = via.call(event, *(each() if callable(each) else each for each in args))
        except SocketIOError as error:
            FIGURES.failure("ack", event, error)
            return
        FIGURES.timing("ack", event).add(late + answer.ms)
        FIGURES.timing("ack", f"{event} (service)").add(answer.ms)

    def timed_push(
        self, event: str, stamp: str, then: Callable[[Mapping[str, Any]], Any] | None = None
    ) -> Callable[[Mapping[str, Any]], Any]:
        """A handler that times a push from its field ``stamp`` (Unix time in ms) until now, then calls ``then``.

        Sender and receiver must share a clock. If the stamp is in the future they don't, so that push is a failure and
        not timed.
        """
        timing = FIGURES.timing(PUSH, event)

        def handler(payload: Mapping[str, Any]) -> Any:
            ms = time.time() * 1000 - payload[stamp]
            if ms >= 0:
                timing.add(ms)
            else:
                FIGURES.failure(PUSH, event, CLOCKS_DIFFER)
            return then(payload) if then is not None else None

        return handler

    def failed(self, what: str, error: BaseException) -> None:
        """Count a failure outside of any call, such as an unreadable packet or a failed reconnect, with its cause."""
        FIGURES.failure("socket", what, error)

    def lost(self, cause: str) -> None:
        """Count a lost connection. The client reconnects by itself, unless the server disconnected it."""
        FIGURES.failure(*LOST, cause)

    def _back(self) -> None:
        FIGURES.timing("reconnect", self.transport).add(self.io.disconnected_ms)
        self.reconnected()

    def reconnected(self) -> None:
        """Called after a reconnect in its own greenlet; override it to join and replay again."""

    def on_stop(self) -> None:
        """Stop sending and disconnect."""
        self._sending.kill(block=False)
        self.io.disconnect()
