"""The bus between servers over Redis: one channel, published to and subscribed by all servers of one database."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import redis.asyncio
from redis.exceptions import RedisError

from chatsys.errors import StoreUnavailable

logger = logging.getLogger("chatsys.realtime")

RETRY = 0.5
"""Seconds between two tries to subscribe again."""


class RedisBus:
    """A :class:`chatsys.chat.bus.Bus`. Each payload begins with 16 bytes that tell its publisher."""

    def __init__(self, client: redis.asyncio.Redis, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._origin = uuid.uuid4().bytes
        self._subscribers: list[tuple[Callable[[bytes], None], Callable[[], None]]] = []
        self.listening = asyncio.Event()

    async def publish(self, payload: bytes) -> None:
        """Hand ``payload`` on. Raises StoreUnavailable if Redis does not take it."""
        try:
            await self._client.publish(self._channel, self._origin + payload)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis did not take it: {error}") from error

    def subscribe(self, on_payload: Callable[[bytes], None], on_gap: Callable[[], None]) -> None:
        """Call back for each payload of other servers, and after some may have been lost."""
        self._subscribers.append((on_payload, on_gap))

    async def listen(self) -> None:
        """Listen until cancelled; after a lost connection subscribe again and report the gap."""
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=False) as subscription:
                    await subscription.subscribe(self._channel)
                    async for message in subscription.listen():
                        self._take(message)
            except (RedisError, OSError) as error:
                logger.warning("Redis is away, trying again: %s", error)
                await asyncio.sleep(RETRY)

    def _take(self, message: dict[str, object]) -> None:
        data = message["data"]
        if message["type"] == "subscribe":
            if self.listening.is_set():
                for _, on_gap in self._subscribers:
                    on_gap()
            self.listening.set()
        elif message["type"] == "message" and isinstance(data, bytes) and data[:16] != self._origin:
            for on_payload, _ in self._subscribers:
                on_payload(data[16:])


@asynccontextmanager
async def open_redis_bus(url: str, channel: str) -> AsyncIterator[RedisBus]:
    """The bus on ``channel`` of the Redis at ``url``; it listens when this returns.

    Raises StoreUnavailable if Redis does not answer at the start.
    """
    client = redis.asyncio.Redis.from_url(url, retry=None)
    bus = RedisBus(client, channel)
    try:
        try:
            await client.ping()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"Redis at REDIS_URL does not answer: {error}",
                hint="Start it, or unset REDIS_URL to use PostgreSQL between servers.",
            ) from error
        listening = asyncio.create_task(bus.listen())
        try:
            await bus.listening.wait()
            yield bus
        finally:
            listening.cancel()
            await asyncio.wait([listening])
    finally:
        await client.aclose()
