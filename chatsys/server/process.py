"""One server process: its socket, its signals, its start and its stop.

To start, it binds the port, opens the store, registers the server there and listens. To stop, it refuses new
connections, closes the WebSockets, finishes running requests, ends the server's sessions and closes the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from chatsys import logs, web
from chatsys.errors import OperatorError
from chatsys.realtime.fanout import SocketFanout
from chatsys.realtime.opening import PATH, open_realtime
from chatsys.server.composition import Announce, open_server, realtime_options
from chatsys.server.serving import Server, uvicorn_config
from chatsys.server.siblings import siblings
from chatsys.settings import Settings

log = logging.getLogger(__name__)

STOP_SECONDS = 9.5
"""Seconds after the first signal to stop, after which the process exits without waiting any longer."""

ANNOUNCEMENTS = 2
"""Lines announced at start: the store, then the address."""

COLLECT_AFTER = 10_000
"""Threshold of the youngest generation of Python's garbage collector, in objects created and not yet freed."""

UNSENT = 128 * 1024
"""Maximum unsent bytes in the kernel for one client. The kernel's default is up to some megabytes."""


def say(line: str) -> None:
    """Print a line on standard output."""
    print(line, flush=True)


def run(
    settings: Settings,
    announce: Announce = say,
    listener: socket.socket | None = None,
    others: Path | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises OperatorError or StoreError if the server can't start.

    ``announce`` is called with a line about the store and one with the address. ``listener`` is a bound socket; if it
    is None, one is created. ``others`` is the folder with the sockets of the other processes of this port.
    """
    logs.configure(settings.log_format)
    with (
        _LastResort() as last_resort,
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
        contextlib.suppress(asyncio.CancelledError),
        listener or bound_socket(settings.host, settings.port) as bound,
    ):
        runner.run(serve(settings, announce, bound, last_resort, others))


async def serve(
    settings: Settings,
    announce: Announce,
    listener: socket.socket,
    last_resort: _LastResort | None = None,
    others: Path | None = None,
) -> None:
    """Serve the settings' store on ``listener``."""
    with _stop_signals(last_resort or _LastResort()) as stop:
        fanout = SocketFanout()
        async with (
            open_server(settings, announce, fanout) as chat,
            open_realtime(chat, fanout, realtime_options(settings)) as realtime,
            siblings(others) as together,
        ):
            rest = web.make_app(
                chat,
                cors_origin=settings.cors_origin,
                metrics=settings.metrics,
                access_log=not settings.production,
                together=together,
            )
            config = uvicorn_config(
                realtime.asgi(rest), realtime.endpoint, PATH, forwarded_allow_ips=settings.forwarded_allow_ips
            )
            server = Server(config, realtime.drain)
            stop.server = server
            _tune_garbage_collector()
            with _port_errors(*listener.getsockname()[:2]):
                listener.listen(config.backlog)
            await server.serve_on(listener, lambda: announce(_started(settings.host, listener)))


def _tune_garbage_collector() -> None:
    """Exclude the objects that exist after the start from garbage collection, and collect less often.

    A message creates a dozen objects that wait for the store, none of them in a reference cycle. With Python's default
    threshold of 700 objects, scanning them takes a tenth of the server's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def _started(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    shown = "localhost" if host in {"0.0.0.0", "::"} else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"Chat Server Started Successfully! Listening on http://{shown}:{port}"


@contextlib.contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to the address but not listening, so that a used port is detected before the store is opened."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OperatorError(
            f"The address {host!r} can't be used: {error.strerror}.", hint="Choose another address with --host."
        ) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # keep waiting bytes in this process, which counts them
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        with _port_errors(host, port):
            listener.bind(address)
        yield listener


@contextlib.contextmanager
def _port_errors(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OperatorError(
            f"Port {port} on {host} can't be used: {error.strerror}.",
            hint="Choose another port with `chatsys serve --port PORT`.",
        ) from error


class _Stop:
    """The signal handler. It cancels the start or stops the running server; a second signal stops it at once."""

    def __init__(self, task: asyncio.Task[None] | None, last_resort: _LastResort) -> None:
        self._task = task
        self._last_resort = last_resort
        self.server: Server | None = None

    def __call__(self, number: int) -> None:
        self._last_resort.arm()
        if self.server is not None:
            self.server.handle_exit(number, None)
        elif self._task is not None:
            self._task.cancel()


class _LastResort:
    """Ends the process if it is still running ``STOP_SECONDS`` after :meth:`arm`, whatever it waits for."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def arm(self) -> None:
        """Start the timer. Later calls have no effect."""
        if self._timer is None:
            self._timer = threading.Timer(STOP_SECONDS, self._leave)
            self._timer.daemon = True
            self._timer.start()

    def __enter__(self) -> _LastResort:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _leave(self) -> None:
        log.error("The server did not stop within %.1f s: exiting now", STOP_SECONDS)
        os._exit(0)


@contextlib.contextmanager
def _stop_signals(last_resort: _LastResort) -> Iterator[_Stop]:
    stop = _Stop(asyncio.current_task(), last_resort)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # uvloop does not support Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
