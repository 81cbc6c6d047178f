"""The wiring: ``open_prepared_store`` inside ``open_chat`` inside ``serve``, and the life of a server process.

A start goes: bind the port, open the store, announce the server to it, listen. A stop goes the same way back: no new
connections, sockets told to leave, requests drained, the server's sessions ended, the store closed.
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
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

from chatsys import logs, metrics, web
from chatsys.bus.opening import open_bus
from chatsys.chat import accounts, operations
from chatsys.chat.bundle import Chat, Limits, open_chat
from chatsys.database.opening import open_prepared_store
from chatsys.engine.engine import Limits as ConnectionLimits
from chatsys.errors import OperatorError, StoreError
from chatsys.model.values import StoreInfo
from chatsys.realtime.fanout import SocketFanout
from chatsys.realtime.opening import PATH, RealtimeOptions, open_realtime
from chatsys.server.serving import Server, uvicorn_config
from chatsys.server.siblings import siblings
from chatsys.server.snapshot_file import SnapshotFile
from chatsys.settings import Settings, token_secret
from chatsys.store.contract import HEARTBEATS, Store
from chatsys.store.options import StoreOptions

log = logging.getLogger(__name__)

RETIRE_SECONDS = 1.5
"""How long the store may take to end the sessions of a server that stops."""

STOP_SECONDS = 9.5
"""After a first signal to stop; what has not ended by then is left behind."""

ANNOUNCEMENTS = 2
"""Lines that a start announces: the store, then the address."""

RETRY_HEARTBEAT = 1.0
"""Seconds until a heartbeat that failed is tried again."""

BUS_CONNECTIONS = 2
"""Of DB_POOL_SIZE: one, and another while the server has not noticed that the first one is lost."""

LAG_INTERVAL = 0.5
"""Seconds between two looks at the event loop's lag."""

COLLECT_AFTER = 10_000
"""Objects made and not yet freed after which Python looks for cycles among the youngest."""

UNSENT = 128 * 1024
"""Bytes for one client that the kernel takes beyond what is under way to it; it would keep up to some megabytes."""

Announce = Callable[[str], None]


def say(line: str) -> None:
    """Announce a line on standard output."""
    print(line, flush=True)


def run(
    settings: Settings,
    announce: Announce = say,
    listener: socket.socket | None = None,
    others: Path | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises OperatorError or StoreError if the server can't start.

    ``announce`` is told which store and which address; ``listener`` is a bound socket, else one is made. ``others`` is
    the folder in which further processes of this port are found.
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
    """Serve on the settings' store and on ``listener``."""
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
            _spare_the_collector()
            with _port_errors(*listener.getsockname()[:2]):
                listener.listen(config.backlog)
            await server.serve_on(listener, lambda: announce(_started(settings.host, listener)))


def _spare_the_collector() -> None:
    """Leave out of every collection what the start has made, which lives as long as the server; collect less often.

    A message makes a dozen objects that wait for the store, none of them in a cycle: looking through them after each
    700, as the default is, costs a tenth of the server's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


@contextlib.asynccontextmanager
async def open_server(
    settings: Settings, announce: Announce, fanout: SocketFanout | None = None
) -> AsyncIterator[Chat]:
    """A chat over the settings' store, registered with it as a living server."""
    fanout = fanout or SocketFanout()
    async with (
        open_prepared_store(settings.database_url, store_options(settings)) as store,
        _kept(store, settings, announce),
        open_chat(
            store,
            secret=token_secret(settings),
            previous_secret=settings.jwt_previous_secret,
            token_lifetime=settings.jwt_lifetime,
            fanout=fanout,
            limits=limits(settings),
        ) as chat,
    ):
        announce(_connected(await operations.ping(chat), settings))
        async with (
            _peers(fanout, chat, settings),
            _alive(chat, settings.lease / HEARTBEATS),
            _background(_watch_lag()),
            _background(_finish_deletions(chat)),
        ):
            yield chat


@contextlib.asynccontextmanager
async def _peers(fanout: SocketFanout, chat: Chat, settings: Settings) -> AsyncIterator[None]:
    """Tie this server to others on the same database; the memory store has no others."""
    if settings.database_url == "memory://":
        yield
        return
    async with open_bus(
        settings.bus_url or settings.redis_url,
        settings.database_url,
        store_options(settings),
        key=await chat.store.bus_key(),
        server=chat.server_id,
        receiver=fanout.peers,
        workers=settings.workers,
    ) as fanout.peers.bus:
        yield
    fanout.peers.bus = None


def limits(settings: Settings) -> Limits:
    """What the settings let a client ask for."""
    return Limits(
        login_attempts=settings.login_attempts,
        login_window=settings.login_window,
        join_bytes=settings.join_bytes,
        page_bytes=settings.page_bytes,
        large_room=settings.large_room,
        waiting=settings.page_queue,
        passwords=settings.password_queue,
        patience=settings.queue_timeout,
        new_rooms=settings.new_rooms if settings.production else None,
    )


def store_options(settings: Settings) -> StoreOptions:
    """How the settings want a PostgreSQL store to behave."""
    return StoreOptions(
        pool_size=settings.db_pool_size - BUS_CONNECTIONS,
        synchronous_commit=settings.synchronous_commit,
        statement_timeout=settings.statement_timeout,
        connect_timeout=settings.connect_timeout,
        write_queue=settings.write_queue,
        lease=settings.lease,
        ssl=settings.db_ssl,
        ssl_ca_file=settings.db_ssl_ca_file,
        data_dir=settings.data_dir / "postgres",
        observe=_observe,
    )


_OBSERVED = {
    "flush": metrics.flush_seconds,
    "flush_rows": metrics.flush_size,
    "pool_wait": metrics.pool_wait_seconds,
}


def _observe(name: str, value: float) -> None:
    histogram = _OBSERVED.get(name)
    if histogram is not None:
        histogram.observe(value)


def realtime_options(settings: Settings) -> RealtimeOptions:
    """How the settings want Socket.IO to be served."""
    return RealtimeOptions(
        cors_origin=settings.cors_origin,
        polling=settings.workers == 1,
        limits=ConnectionLimits(
            connect_within=settings.connect_within,
            unfinished_within=settings.unfinished_within,
            stalled_within=settings.stalled_within,
            frames_per_turn=settings.frames_per_turn,
            fragments=settings.fragments,
            attachments=settings.attachments,
            byte_budget=settings.send_buffer_bytes,
            memory=settings.client_memory,
        ),
    )


def _connected(info: StoreInfo, settings: Settings) -> str:
    if info.kind == "memory":
        kept = f"kept in {settings.snapshot}" if settings.snapshot else "nothing is kept"
        return f"Connected to the memory store: {kept} when the server stops"
    return f"Connected to PostgreSQL database {info.database} on {info.host} (PostgreSQL {info.version})"


def _started(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    shown = "localhost" if host in {"0.0.0.0", "::"} else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"Chat Server Started Successfully! Listening on http://{shown}:{port}"


@contextlib.contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to the address, not listening yet, so that a taken port is known before a database is opened."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OperatorError(
            f"The address {host!r} can't be used: {error.strerror}.", hint="Choose another with --host."
        ) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # what waits for a client waits here, where it is counted
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
            hint="Choose another with `chatsys serve --port PORT`.",
        ) from error


class _Stop:
    """What a signal does: cancels a start under way, later asks the server to stop, at once if asked again."""

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
    """Ends the process if it has not ended in time after :meth:`arm`: whatever hangs then, hangs for good."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def arm(self) -> None:
        """The time begins; once."""
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
        log.error("The server did not stop within %.1f s: it leaves now", STOP_SECONDS)
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


@contextlib.asynccontextmanager
async def _alive(chat: Chat, interval: float) -> AsyncIterator[None]:
    """Tell the store every ``interval`` seconds that this server lives; at the end, that it is gone."""
    await operations.heartbeat(chat)
    try:
        async with _background(_beat(chat, interval)):
            yield
    finally:
        try:
            async with asyncio.timeout(RETIRE_SECONDS):
                await operations.retire(chat)
        except (StoreError, TimeoutError) as error:
            code = getattr(error, "code", "no answer in time")
            log.warning("The store was away when the server stopped (%s); sessions end with the lease", code)


async def _beat(chat: Chat, interval: float) -> None:
    wait = interval
    while True:
        await asyncio.sleep(wait)
        try:
            await operations.heartbeat(chat)
        except StoreError as error:
            log.debug("The store did not take the heartbeat (%s); trying again", error.code)
            wait = min(interval, RETRY_HEARTBEAT)
        else:
            wait = interval


async def _finish_deletions(chat: Chat) -> None:
    """Take up, every minute, what servers that died in the midst of a deletion have left."""
    while True:
        try:
            await accounts.finish_deletions(chat)
        except StoreError as error:
            log.warning("Deletions that were begun are not finished yet (%s); trying again", error.code)
        await asyncio.sleep(accounts.DELETION_AGE.total_seconds())


async def _watch_lag() -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(LAG_INTERVAL)
        metrics.loop_lag.set(max(0.0, time.monotonic() - before - LAG_INTERVAL))


@contextlib.asynccontextmanager
async def _kept(store: Store, settings: Settings, announce: Callable[[str], None]) -> AsyncIterator[None]:
    """Keep a memory store in its snapshot file: taken up now, written at the end, and whenever SIGUSR1 comes.

    Without a file SIGUSR1 still rescues what is in memory, into the data folder. A server on PostgreSQL has nothing
    to rescue and says so; the signal would end it otherwise.
    """
    if settings.database_url != "memory://":
        if settings.snapshot is not None:
            raise OperatorError(
                "A snapshot is kept for memory:// alone; PostgreSQL keeps its data itself.",
                hint="Move it with `chatsys import FILE --to URL`.",
            )
        with _on_signal(signal.SIGUSR1, nothing_to_rescue):
            yield
        return
    file = SnapshotFile(store, settings.snapshot or settings.data_dir / "memory.snapshot")
    if settings.snapshot is not None:
        announce(await file.load())
    try:
        with _on_signal(signal.SIGUSR1, file.save_soon):
            yield
    finally:
        await file.finish(write=settings.snapshot is not None)


def nothing_to_rescue(*_: object) -> None:
    """What SIGUSR1 does to a server on PostgreSQL."""
    log.warning("SIGUSR1 was ignored: PostgreSQL keeps the data itself; `chatsys export` writes a snapshot")


@contextlib.contextmanager
def _on_signal(number: int, handler: Callable[[], None]) -> Iterator[None]:
    """Within it a signal calls the handler. Only a main thread hears signals; a server in another one goes without."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run ``work`` beside the body; end it with the body."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
