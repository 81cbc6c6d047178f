"""Locust's own Socket.IO user on the traffic of docs/LOADTESTING.md, "What other tools report": one room, one sender.

``locust -f loadtests/comparison/contrib.py --headless -u 50 -r 50 -t 60s --host http://127.0.0.1:3001``
"""

from __future__ import annotations

from itertools import count

import gevent
from locust import task
from locust.contrib.socketio import SocketIOUser

_numbers = count()


class ContribUser(SocketIOUser):
    """A guest in the room. The first one sends a message per second and waits for each acknowledgement."""

    def on_start(self) -> None:
        """Connect and join."""
        self.number = next(_numbers)
        self.sio.connect(self.host, transports=["websocket"])
        self.sio.call(
            "join", {"username": f"member {self.number}", "userId": f"guest-{self.number}", "room": "comparison"}
        )

    @task
    def talk(self) -> None:
        """Send one message, if this is the first guest, and wait a second."""
        if self.number == 0:
            self.sio.call("send-message", {"message": "hello"})
        gevent.sleep(1)

    def on_stop(self) -> None:
        """Disconnect."""
        self.sio.disconnect()
