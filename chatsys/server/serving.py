"""uvicorn's server on an existing socket, without its signal handling."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import uvicorn

from chatsys.engine.polling import Endpoint
from chatsys.server.http import Handshake, HttpProtocol

DRAIN_SECONDS = 4
"""Maximum seconds for running requests once the server stops."""


def uvicorn_config(
    application: Callable[..., Any], endpoint: Endpoint, path: str, *, forwarded_allow_ips: str
) -> uvicorn.Config:
    """uvicorn's configuration to serve ``application``, and the WebSockets of ``endpoint`` at ``path``."""
    logging.getLogger("uvicorn.error").addFilter(_clients_at_debug)
    http: Any = partial(HttpProtocol, endpoint)
    websocket: Any = partial(Handshake, endpoint, path)
    return uvicorn.Config(
        application,
        http=http,
        ws=websocket,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=forwarded_allow_ips,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def _clients_at_debug(record: logging.LogRecord) -> bool:
    """Log malformed requests at DEBUG level; uvicorn logs a warning for each."""
    if record.levelno != logging.WARNING or record.module != "httptools_impl":
        return True
    record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


class Server(uvicorn.Server):
    """uvicorn's server. It awaits ``before_stop`` before it waits for open connections."""

    def __init__(self, config: uvicorn.Config, before_stop: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._before_stop = before_stop

    async def serve_on(self, listener: socket.socket, started: Callable[[], None]) -> None:
        """Serve on a listening socket until stopped. ``started`` is called once."""
        self._started = started
        await self.serve([listener])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on ``sockets``, then call ``started``."""
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Await ``before_stop``, which ends pending polls, so that uvicorn does not wait for them."""
        await self._before_stop()
        await super().shutdown(sockets)
