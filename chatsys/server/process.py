"""One server process: its socket, its signals, its start and its stop.

To start, it binds the port, opens the store, registers the server there and listens. To stop, it refuses new
connections, closes the WebSockets, finishes running requests, ends the server's sessions and closes the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
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
    settings: Settings, announce: Announce = say, listener: socket.socket | None = None, others: Path | None = None
) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises OperatorError or StoreError if the server can't start.

    ``announce`` is called with a line about the store and one with the address. ``listener`` is a bound socket; if it
    is None, one is created. ``others`` is the folder with the sockets of the other processes of this port.
    """
    logs.configure(settings.log_format)
    with (
        _Stop() as stop,
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
        contextlib.suppress(asyncio.CancelledError),
        listener or bound_socket(settings.host, settings.port) as bound,
        ready_file(settings, bound) as ready,
    ):
        runner.run(_serve(settings, announce, bound, stop, others=others, ready=ready))


async def _serve(
    settings: Settings,
    announce: Announce,
    listener: socket.socket,
    stop: _Stop,
    *,
    others: Path | None,
    ready: Callable[[], None],
) -> None:
    """Serve the settings' store on ``listener``, and call ``ready`` once it accepts connections."""
    stop.task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
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
        stop.server = Server(config, realtime.drain)
        _tune_garbage_collector()
        with _port_errors(*listener.getsockname()[:2]):
            listener.listen(config.backlog)

        def started() -> None:
            announce(f"Chat Server Started Successfully! Listening on {_url(settings, listener)}")
            ready()

        await stop.server.serve_on(listener, started)


def _tune_garbage_collector() -> None:
    """Exclude the objects that exist after the start from garbage collection, and collect less often.

    A message creates a dozen objects that wait for the store, none of them in a reference cycle. With Python's default
    threshold of 700 objects, scanning them takes a tenth of the server's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def _url(settings: Settings, listener: socket.socket) -> str:
    host, port = settings.host, listener.getsockname()[1]
    shown = "localhost" if host in {"0.0.0.0", "::"} else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{shown}:{port}"


@contextlib.contextmanager
def ready_file(settings: Settings, listener: socket.socket) -> Iterator[Callable[[], None]]:
    """A function that puts the server's URL into the settings' ready file, if any. On exit, the file is removed.

    Raises OperatorError at once if the file can't be written. The URL is written to a draft beside it now, so that the
    file later appears as a whole.
    """
    path = settings.ready_file
    if path is None:
        yield lambda: None
        return
    draft = Path(f"{path}.new")
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise FileExistsError(errno.EEXIST, "something else than a file has this name")
        path.unlink(missing_ok=True)  # a server that was killed has left it behind
        draft.write_text(f"{_url(settings, listener)}\n", "utf-8")
    except OSError as error:
        raise OperatorError(
            f"The ready file {path} can't be written: {error.strerror}.", hint="Choose another file with --ready-file."
        ) from error
    try:
        yield lambda: os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
        path.unlink(missing_ok=True)


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
    """The signal handler. It cancels the start or stops the running server; a second signal stops it at once.

    If the process is still running ``STOP_SECONDS`` after the first signal, it exits, whatever it waits for.
    """

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.server: Server | None = None
        self._timer = threading.Timer(STOP_SECONDS, _leave)
        self._timer.daemon = True

    def __enter__(self) -> _Stop:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def __call__(self, number: int) -> None:
        if self._timer.ident is None:
            self._timer.start()
        if self.server is not None:
            self.server.handle_exit(number, None)
        elif self.task is not None:
            self.task.cancel()


def _leave() -> None:
    log.error("The server did not stop within %.1f s: exiting now", STOP_SECONDS)
    os._exit(0)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # uvloop does not support Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
