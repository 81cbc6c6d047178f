"""Open the bus that the settings name. A broker's module is imported only if it is used."""

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
    """The bus of ``server``, over the broker at ``url``, or over the database's NOTIFY if ``url`` is None.

    On entry, the bus has received its own token, so it works. All servers of one chat share the secret ``key``.

    Raises BusUnavailable with a hint, within ``options.connect_timeout``. Behind PgBouncer in transaction mode, a
    second server raises it within half a lease.
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
    """The broker for the URL's scheme. Channel names depend on the key, so chats that share a broker stay apart."""
    prefix = f"chatsys.{hashlib.blake2b(key, digest_size=6, person=b'channels').hexdigest()}."
    if url.startswith(("nats://", "tls://")):
        require("nats")
        from chatsys.bus.nats import NatsBroker

        return NatsBroker(url, prefix)
    require("redis")
    from chatsys.bus.redis import RedisBroker

    return RedisBroker(url, prefix)
