"""A Locust user that speaks Socket.IO, for any server: no chat in it.

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

import time
from collections.abc import Callable, Mapping
from typing import Any

from gevent import GreenletExit
from locust import User, events
from locust.env import Environment

from chatsys.loadtesting.client import Acknowledged, ConnectFailed, SocketIOClient, SocketIOError
from chatsys.loadtesting.figures import Figures

FIGURES = Figures()
"""The timings of this process; attached to Locust when it has started."""


@events.init.add_listener
def _attach(environment: Environment, **_: Any) -> None:
    FIGURES.attach(environment)


class UserEnded(GreenletExit):
    """This user can't go on; Locust's table says why. Unlike StopUser it leaves no traceback in Locust's log."""


class SocketIOUser(User):
    """A Locust user with one Socket.IO connection, ``self.io``.

    In Locust's table: ``connect``, ``ack <event>`` and ``push <event>`` with their times; what was not timed
    is a failure with its cause, or nothing.
    """

    abstract = True
    transport = "websocket"
    """``websocket`` or ``polling``."""
    namespace = "/"
    socketio_path = "/socket.io/"
    auth: object = None
    timeout = 10.0
    """Seconds, for connecting and for each acknowledgement."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.io = SocketIOClient(
            self.host or environment.host,
            transport=self.transport,
            namespace=self.namespace,
            path=self.socketio_path,
            auth=self.auth,
            timeout=self.timeout,
        )
        self.io.on_failure = self.failed
        self.io.on_disconnect = self.lost
        self.io.on_reconnect = self.reconnected

    def connect(self) -> None:
        """Connect and time it; a failure ends this user."""
        try:
            FIGURES.timing("connect", self.transport).add(self.io.connect())
        except ConnectFailed as error:
            FIGURES.failure("connect", self.transport, error)
            raise UserEnded from error

    def emit(self, event: str, *args: object) -> None:
        """Send without acknowledgement: nothing to time; a lost connection is a failure."""
        try:
            self.io.emit(event, *args)
        except SocketIOError as error:
            FIGURES.failure("emit", event, error)

    def call(self, event: str, *args: object) -> Any:
        """Send, wait for the acknowledgement, time it; its first argument. None after a failure."""
        try:
            answer: Acknowledged = self.io.call(event, *args)
        except SocketIOError as error:
            FIGURES.failure("ack", event, error)
            return None
        FIGURES.timing("ack", event).add(answer.ms)
        return answer.args[0] if answer.args else None

    def timed_push(
        self, event: str, stamp: str, then: Callable[[Mapping[str, Any]], None] | None = None
    ) -> Callable[[Mapping[str, Any]], None]:
        """A handler that times a push from its field ``stamp`` (Unix time in ms) until now, then calls ``then``.

        It is right only where sender and receiver share a clock.
        """
        timing = FIGURES.timing("push", event)

        def handler(payload: Mapping[str, Any]) -> None:
            timing.add(time.time() * 1000 - payload[stamp])
            if then is not None:
                then(payload)

        return handler

    def failed(self, what: str, error: BaseException) -> None:
        """A failure off any call (a packet that can't be read, a vain reconnect): counted with its cause."""
        FIGURES.failure("socket", what, error)

    def lost(self, cause: str) -> None:
        """The connection ended without our asking: a failure; it comes back by itself."""
        FIGURES.failure("socket", "connection", cause)

    def reconnected(self) -> None:
        """After a reconnect, in a greenlet of its own: override to join and replay again."""

    def on_stop(self) -> None:
        """Say goodbye."""
        self.io.disconnect()
