"""The parts of a server: the store, the chat on it, the bus to other servers, and background tasks.

``open_server`` opens them from the settings in the order of their dependencies, and closes them in reverse: it ends the
server's sessions, leaves the bus and closes the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine

from chatsys import metrics
from chatsys.bus.opening import open_bus
from chatsys.chat import accounts, operations
from chatsys.chat.bundle import Chat, ChatLimits, open_chat
from chatsys.database.opening import open_prepared_store
from chatsys.engine.shared import ConnectionLimits
from chatsys.errors import StoreError
from chatsys.model.values import StoreInfo
from chatsys.realtime.fanout import SocketFanout
from chatsys.realtime.opening import RealtimeOptions
from chatsys.server.snapshot_file import kept
from chatsys.settings import Settings, token_secret
from chatsys.store.contract import HEARTBEATS
from chatsys.store.options import StoreOptions

log = logging.getLogger(__name__)

RETIRE_SECONDS = 1.5
"""Seconds that the store may take to end the sessions of a stopping server."""

RETRY_HEARTBEAT = 1.0
"""Seconds before a failed heartbeat is repeated."""

BUS_CONNECTIONS = 2
"""The bus's share of DB_POOL_SIZE: one connection, and its successor while PostgreSQL still holds a lost one."""

LAG_INTERVAL = 0.5
"""Seconds between two measurements of the event loop's lag."""

Announce = Callable[[str], None]


@contextlib.asynccontextmanager
async def open_server(
    settings: Settings, announce: Announce, fanout: SocketFanout | None = None
) -> AsyncIterator[Chat]:
    """A chat on the settings' store, registered there as a running server."""
    fanout = fanout or SocketFanout()
    async with (
        open_prepared_store(settings.database_url, store_options(settings)) as store,
        kept(store, settings, announce),
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
    """Connect this server to others on the same database. With the memory store there are no others."""
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


def limits(settings: Settings) -> ChatLimits:
    """The limits for clients, from the settings."""
    return ChatLimits(
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
    """The options of a PostgreSQL store, from the settings."""
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


_OBSERVED = {"flush": metrics.flush_seconds, "flush_rows": metrics.flush_size, "pool_wait": metrics.pool_wait_seconds}


def _observe(name: str, value: float) -> None:
    histogram = _OBSERVED.get(name)
    if histogram is not None:
        histogram.observe(value)


def realtime_options(settings: Settings) -> RealtimeOptions:
    """The options of Socket.IO, from the settings."""
    return RealtimeOptions(
        cors_origin=settings.cors_origin,
        polling=settings.workers == 1,
        limits=ConnectionLimits(
            connect_within=settings.connect_within,
            unfinished_within=settings.unfinished_within,
            stalled_within=settings.stalled_within,
            frames_per_iteration=settings.frames_per_iteration,
            fragments=settings.fragments,
            attachments=settings.attachments,
            byte_budget=settings.send_buffer_bytes,
            memory=settings.client_memory,
        ),
    )


def _connected(info: StoreInfo, settings: Settings) -> str:
    if info.kind == "memory":
        fate = f"saved to {settings.snapshot}" if settings.snapshot else "lost"
        return f"Connected to the memory store: its data is {fate} when the server stops"
    return f"Connected to PostgreSQL database {info.database} on {info.host} (PostgreSQL {info.version})"


@contextlib.asynccontextmanager
async def _alive(chat: Chat, interval: float) -> AsyncIterator[None]:
    """Renew this server's lease in the store every ``interval`` seconds; on exit, retire the server."""
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
            log.warning("The store was unavailable when the server stopped (%s); sessions end with the lease", code)


async def _beat(chat: Chat, interval: float) -> None:
    wait = interval
    while True:
        await asyncio.sleep(wait)
        try:
            await operations.heartbeat(chat)
        except StoreError as error:
            log.debug("The heartbeat failed (%s); trying again", error.code)
            wait = min(interval, RETRY_HEARTBEAT)
        else:
            wait = interval


async def _finish_deletions(chat: Chat) -> None:
    """Every minute, finish deletions of servers that died before they had finished them."""
    while True:
        try:
            await accounts.finish_deletions(chat)
        except StoreError as error:
            log.warning("Could not finish interrupted deletions (%s); trying again", error.code)
        await asyncio.sleep(accounts.DELETION_AGE.total_seconds())


async def _watch_lag() -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(LAG_INTERVAL)
        metrics.loop_lag.set(max(0.0, time.monotonic() - before - LAG_INTERVAL))


@contextlib.asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run ``work`` during the body, and cancel it afterwards."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
