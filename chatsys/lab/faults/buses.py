"""Faults of the bus between servers, for Redis and NATS behind a proxy and for PostgreSQL's NOTIFY."""

from __future__ import annotations

import asyncio
import signal

import psycopg

from chatsys.lab.faults.broker import ProxiedBroker
from chatsys.lab.faults.fault import Concern, Context, Inject, Need, fault
from chatsys.lab.faults.site import SiteKind

DELIVERED = "Every message reaches every member, at once or after the outage."


def _broker(context: Context) -> ProxiedBroker:
    assert context.site.broker is not None
    return context.site.broker


async def killed(context: Context) -> None:
    """Send SIGKILL to the broker, and start it again after a second."""
    broker = _broker(context)
    broker.kill()
    await asyncio.sleep(1)
    await broker.start()


async def hangs(context: Context) -> None:
    """Send SIGSTOP to the broker, and SIGCONT after 5 s."""
    broker = _broker(context)
    broker.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(5)
    broker.process.send_signal(signal.SIGCONT)


async def half_open(context: Context) -> None:
    """Discard data that TCP still acknowledges, for longer than a lease; new connections work."""
    for proxy in _broker(context).proxies:
        proxy.hush()
    await asyncio.sleep(8)


async def reset(context: Context) -> None:
    """Reset the TCP connections; new ones are accepted."""
    for proxy in _broker(context).proxies:
        proxy.reset()


async def garbage(context: Context) -> None:
    """Insert garbage into the stream of each connection once. The reset makes the servers open new connections."""
    broker = _broker(context)
    for proxy in broker.proxies:
        proxy.garbage = broker.garbage
        proxy.reset()
    await asyncio.sleep(3)
    for proxy in broker.proxies:
        proxy.garbage = b""


async def full(context: Context) -> None:
    """Publish more than may wait for a server, so that the broker closes the servers' connections."""
    await _broker(context).fill(3)


async def cut(context: Context) -> None:
    """Reset one server's connections and refuse new ones, for longer than a lease."""
    proxy = context.rng.choice(_broker(context).proxies)
    proxy.cut()
    await asyncio.sleep(8)
    await proxy.listen()


_BROKER_FAULTS: tuple[tuple[str, Inject, float], ...] = (
    ("{} killed and started again", killed, 2),
    ("{} hangs for 5 s", hangs, 5),
    ("connections to {} half open", half_open, 8),
    ("connections to {} reset", reset, 1),
    ("{} sends garbage", garbage, 3),
    ("the queues of {} full for 3 s", full, 5),
    ("one server cut off from {} for 8 s", cut, 8),
)
for _name, _kind, _need in (("Redis", SiteKind.REDIS, Need.REDIS), ("NATS", SiteKind.NATS, Need.NATS)):
    for _title, _inject, _seconds in _BROKER_FAULTS:
        fault(_title.format(_name), Concern.BUS, DELIVERED, needs=(_need,), site_kind=_kind, seconds=_seconds)(_inject)


@fault(
    "Redis pushes nothing to old connections, and answers",
    Concern.BUS,
    DELIVERED,
    needs=(Need.REDIS,),
    site_kind=SiteKind.REDIS,
    seconds=8,
)
async def pushes_dropped(context: Context) -> None:
    """Drop all pushes, as a firewall that has forgotten an idle connection does, for longer than a lease."""
    for proxy in _broker(context).proxies:
        proxy.drop_pushes()
    await asyncio.sleep(8)


@fault("garbage on NOTIFY", Concern.BUS, DELIVERED)
async def notify_garbage(context: Context) -> None:
    """Send malformed notifications to every server's channel, as anyone who can connect to PostgreSQL may."""
    channels = [
        f"chatsys_{server.replace('-', '')}"
        for (server,) in await context.site.sql("SELECT server_id::text FROM chat_servers")
    ]
    for channel in channels:
        for payload in ("", "x", "{}", "+000half of something", ".", "0" * 7_900, "\u00e9"):
            await context.site.sql("SELECT pg_notify(%s, %s)", channel, payload)


@fault("the queue of NOTIFY full for 5 s", Concern.BUS, DELIVERED, site_kind=SiteKind.SMALL_QUEUE, seconds=7)
async def notify_full(context: Context) -> None:
    """Fill the queue: a listening session that does not end its transaction keeps PostgreSQL from emptying it."""
    async with await psycopg.AsyncConnection.connect(context.site.url, autocommit=True) as reader:
        await reader.execute("LISTEN fault_probe")
        await reader.execute("BEGIN")
        await reader.execute("SELECT 1")
        async with await psycopg.AsyncConnection.connect(context.site.url, autocommit=True) as writer:
            try:
                while True:
                    await writer.execute(
                        "SELECT pg_notify('fault_probe', repeat('x', 7000) || i) FROM generate_series(1, 20) i"
                    )
            except psycopg.errors.ProgramLimitExceeded:
                pass
        await asyncio.sleep(5)
        await reader.execute("ROLLBACK")
