"""Load tests: Locust users that speak Socket.IO and time what people feel.

``SocketIOUser`` is the Locust user for any Socket.IO server, on ``chatsys.client``; ``figures``, ``histogram`` and
``recent`` feed Locust's statistics, and ``locust_names`` lists what is replaced in it for that. ``page`` is the verdict
in Locust's web page and report.

For chat: ``locustfile`` is what Locust runs; ``weights`` (who does what how often), ``personas``, ``arrivals`` (open
loop), ``shapes``, ``accounts``, ``rest``, ``validity`` (the generator watched), ``lifecycle``, ``refusals``, ``record``
and ``verdict``; ``run`` is what they share. ``cost`` compares the user with Locust's own. Every message is accounted
for in ``chatsys.results``.

From chatsys it may import only ``client``, ``results``, ``wire`` and ``model``: a load client that can reach the store
is cheating.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatsys.extras import require

if TYPE_CHECKING:
    from chatsys.loadtesting.socketio_user import SocketIOUser

__all__ = ["SocketIOUser"]


def __getattr__(name: str) -> object:
    """``SocketIOUser``, imported at its first use: Locust patches the whole interpreter for gevent when it is imported.

    Raises MissingExtra where Locust is not installed.
    """
    if name != "SocketIOUser":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("loadtest")
    from chatsys.loadtesting.socketio_user import SocketIOUser

    return SocketIOUser
