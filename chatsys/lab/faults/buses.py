"""The bus between servers: a Redis of the site's own behind a proxy is killed, stopped, half open, or sends garbage."""

from __future__ import annotations

import asyncio
import signal

from chatsys.lab.faults.broker import Redis
from chatsys.lab.faults.fault import Concern, Hit, Need, fault
from chatsys.lab.faults.site import Place

DELIVERED = "Every message reaches every member, at once or after the outage."
_NEEDS = (Need.REDIS,)


def _redis(hit: Hit) -> Redis:
    broker = hit.site.broker
    assert isinstance(broker, Redis)
    return broker


@fault("Redis killed and started again", Concern.BUS, DELIVERED, needs=_NEEDS, place=Place.REDIS, seconds=2)
async def killed(hit: Hit) -> None:
    """Away for a second."""
    broker = _redis(hit)
    broker.kill()
    await asyncio.sleep(1)
    await broker.start()


@fault("Redis hangs for 5 s", Concern.BUS, DELIVERED, needs=_NEEDS, place=Place.REDIS, seconds=5)
async def hangs(hit: Hit) -> None:
    """SIGSTOP and SIGCONT."""
    broker = _redis(hit)
    broker.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(5)
    broker.process.send_signal(signal.SIGCONT)


@fault("connections to Redis half open", Concern.BUS, DELIVERED, needs=_NEEDS, place=Place.REDIS, seconds=8)
async def half_open(hit: Hit) -> None:
    """What is sent is acknowledged by TCP and goes nowhere; new connections work. A lease and more passes."""
    _redis(hit).proxy.hush()
    await asyncio.sleep(8)


@fault("connections to Redis reset", Concern.BUS, DELIVERED, needs=_NEEDS, place=Place.REDIS)
async def reset(hit: Hit) -> None:
    """TCP resets, and new connections are taken."""
    _redis(hit).proxy.reset()


@fault("Redis sends garbage", Concern.BUS, DELIVERED, needs=_NEEDS, place=Place.REDIS, seconds=3)
async def garbage(hit: Hit) -> None:
    """A broken RESP stream, once for each connection."""
    proxy = _redis(hit).proxy
    proxy.garbage = b"*3x\r\n"
    await asyncio.sleep(3)
    proxy.garbage = b""
