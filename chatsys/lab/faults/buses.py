"""The bus between servers: a broker behind a proxy is killed, stopped, half open, or sends garbage; NOTIFY likewise."""

from __future__ import annotations

import asyncio
import signal

import psycopg

from chatsys.lab.faults.broker import ProxiedBroker
from chatsys.lab.faults.fault import Concern, Hit, Inject, Need, fault
from chatsys.lab.faults.site import SiteKind

DELIVERED = "Every message reaches every member, at once or after the outage."


def _broker(hit: Hit) -> ProxiedBroker:
    assert hit.site.broker is not None
    return hit.site.broker


async def killed(hit: Hit) -> None:
    """SIGKILL; it is back after a second."""
    broker = _broker(hit)
    broker.kill()
    await asyncio.sleep(1)
    await broker.start()


async def hangs(hit: Hit) -> None:
    """SIGSTOP and SIGCONT."""
    broker = _broker(hit)
    broker.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(5)
    broker.process.send_signal(signal.SIGCONT)


async def half_open(hit: Hit) -> None:
    """What is sent is acknowledged by TCP and goes nowhere; new connections work. A lease and more passes."""
    for proxy in _broker(hit).proxies:
        proxy.hush()
    await asyncio.sleep(8)


async def reset(hit: Hit) -> None:
    """TCP resets, and new connections are accepted."""
    for proxy in _broker(hit).proxies:
        proxy.reset()


async def garbage(hit: Hit) -> None:
    """A broken stream, once for each connection; the reset makes new connections, which receive it."""
    broker = _broker(hit)
    for proxy in broker.proxies:
        proxy.garbage = broker.garbage
        proxy.reset()
    await asyncio.sleep(3)
    for proxy in broker.proxies:
        proxy.garbage = b""


async def full(hit: Hit) -> None:
    """Somebody publishes more than may wait for a server: the broker ends the servers' connections."""
    await _broker(hit).fill(3)


async def cut(hit: Hit) -> None:
    """Connections reset, new ones refused, for longer than a lease; the others go on."""
    proxy = hit.rng.choice(_broker(hit).proxies)
    proxy.cut()
    await asyncio.sleep(8)
    await proxy.listen()


_OF_BROKERS: tuple[tuple[str, Inject, float], ...] = (
    ("{} killed and started again", killed, 2),
    ("{} hangs for 5 s", hangs, 5),
    ("connections to {} half open", half_open, 8),
    ("connections to {} reset", reset, 1),
    ("{} sends garbage", garbage, 3),
    ("the queues of {} full for 3 s", full, 5),
    ("one server cut off from {} for 8 s", cut, 8),
)
for _name, _place, _need in (("Redis", SiteKind.REDIS, Need.REDIS), ("NATS", SiteKind.NATS, Need.NATS)):
    for _title, _inject, _seconds in _OF_BROKERS:
        fault(_title.format(_name), Concern.BUS, DELIVERED, needs=(_need,), place=_place, seconds=_seconds)(_inject)


@fault(
    "Redis pushes nothing to old connections, and answers",
    Concern.BUS,
    DELIVERED,
    needs=(Need.REDIS,),
    place=SiteKind.REDIS,
    seconds=8,
)
async def deaf(hit: Hit) -> None:
    """As after a firewall has forgotten a connection on which nothing is sent: publishing goes on. A lease passes."""
    for proxy in _broker(hit).proxies:
        proxy.deafen()
    await asyncio.sleep(8)


@fault("garbage on NOTIFY", Concern.BUS, DELIVERED)
async def notify_garbage(hit: Hit) -> None:
    """Anyone who can connect can notify every server's channel: nonsense, a forged message, half of a long one."""
    channels = [
        f"chatsys_{server.replace('-', '')}"
        for (server,) in await hit.site.sql("SELECT server_id::text FROM chat_servers")
    ]
    for channel in channels:
        for payload in ("", "x", "{}", "+000half of something", ".", "0" * 7_900, "\u00e9"):
            await hit.site.sql("SELECT pg_notify(%s, %s)", channel, payload)


@fault("the queue of NOTIFY full for 5 s", Concern.BUS, DELIVERED, place=SiteKind.SMALL_QUEUE, seconds=7)
async def notify_full(hit: Hit) -> None:
    """A session that listens and never finishes its transaction keeps the queue from being emptied."""
    async with await psycopg.AsyncConnection.connect(hit.site.url, autocommit=True) as reader:
        await reader.execute("LISTEN fault_probe")
        await reader.execute("BEGIN")
        await reader.execute("SELECT 1")
        async with await psycopg.AsyncConnection.connect(hit.site.url, autocommit=True) as writer:
            try:
                while True:
                    await writer.execute(
                        "SELECT pg_notify('fault_probe', repeat('x', 7000) || i) FROM generate_series(1, 20) i"
                    )
            except psycopg.errors.ProgramLimitExceeded:
                pass
        await asyncio.sleep(5)
        await reader.execute("ROLLBACK")
