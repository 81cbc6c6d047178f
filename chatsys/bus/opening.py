"""Open the bus that the settings name. Each implementation is imported when it is needed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatsys.bus.contract import Broker, Bus, Receiver
from chatsys.bus.peers import open_broker_bus
from chatsys.database.opening import database_server
from chatsys.extras import require
from chatsys.store.options import StoreOptions


@asynccontextmanager
async def open_bus(
    url: str | None,
    database_url: str | None,
    options: StoreOptions,
    *,
    key: bytes,
    server: str,
    receiver: Receiver,
    workers: int = 1,
) -> AsyncIterator[Bus]:
    """The bus of ``server``: the broker at ``url``, or NOTIFY of the database if there is none. It has received its own
    token when this returns.

    ``key`` is the secret of the servers that belong together. Raises BusUnavailable with what helps, within
    ``options.connect_timeout``; a second server where only one is possible within half a lease.
    """
    timing = {"lease": options.lease, "connect_timeout": options.connect_timeout}
    if url is not None:
        async with open_broker_bus(_broker(url, key), key, server, receiver, **timing) as bus:
            yield bus
        return
    from chatsys.bus.alone import open_alone
    from chatsys.bus.notify import NotifyBroker

    async with database_server(database_url, options) as server_url:
        broker = NotifyBroker(server_url, options)
        if broker.bouncer:
            async with open_alone(broker, server, lease=options.lease, workers=workers) as alone:
                yield alone
        else:
            async with open_broker_bus(broker, key, server, receiver, **timing) as bus:
                yield bus


def _broker(url: str, key: bytes) -> Broker:
    """By the URL's scheme. Channels of different databases have different names."""
    prefix = f"chatsys.{hashlib.blake2b(key, digest_size=6, person=b'channels').hexdigest()}."
    if url.startswith(("nats://", "tls://")):
        require("nats")
        from chatsys.bus.nats import NatsBroker

        return NatsBroker(url, prefix)
    require("redis")
    from chatsys.bus.redis import RedisBroker

    return RedisBroker(url, prefix)
