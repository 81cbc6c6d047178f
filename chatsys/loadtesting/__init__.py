"""Load tests: Locust users that speak Socket.IO and measure latency at the receiver.

``SocketIOUser`` is the Locust user for any Socket.IO server; it uses ``chatsys.client``. ``figures``, ``histogram`` and
``recent`` feed Locust's statistics, and ``locust_names`` lists the functions of Locust that they replace. ``page``
shows the verdict in Locust's web page and report.

The chat load test: Locust runs ``locustfile``. ``weights`` says how often each kind of user does what. ``personas``,
``arrivals`` (the open loop), ``shapes``, ``accounts``, ``rest``, ``validity`` (monitors the generator), ``lifecycle``,
``refusals``, ``record`` and ``verdict`` share the state in ``run``. ``cost`` compares the user with Locust's own.
``chatsys.results`` accounts for every message.

This package imports only ``client``, ``results``, ``wire`` and ``model`` from chatsys: a load client must not reach the
store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatsys.extras import require

if TYPE_CHECKING:
    from chatsys.loadtesting.socketio_user import SocketIOUser

__all__ = ["SocketIOUser"]


def __getattr__(name: str) -> object:
    """Import ``SocketIOUser`` at its first use, because importing Locust patches the whole interpreter for gevent.

    Raises MissingExtra if Locust is not installed.
    """
    if name != "SocketIOUser":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("loadtest")
    from chatsys.loadtesting.socketio_user import SocketIOUser

    return SocketIOUser
