"""A broker that is really stopped, killed, restarted, or cut off by dropped packets. The bus notices each of these,
and everything works again by itself. The proxies of ``test_bus`` cover the faults in between."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from chatsys.bus.contract import Broker
from chatsys.bus.nats import NatsBroker
from chatsys.bus.notify import NotifyBroker
from chatsys.bus.redis import RedisBroker
from chatsys.lab.network.packets import packets_dropped
from chatsys.store.options import StoreOptions
from tests.brokers import Postgres, Process, nats_server, redis_server
from tests.conftest import free_port, passable

from .conftest import CONNECT, LEASE, PREFIX, Node, running, texts, works_again

pytestmark = pytest.mark.process

SECONDS = float(os.environ.get("BUS_OUTAGE_SECONDS", 2 * LEASE))
"""How long packets are dropped and brokers are stopped, in seconds."""


class Own(NamedTuple):
    """A broker for this test alone, and how a server reaches it directly."""

    port: int
    process: Process | Postgres
    broker: Callable[[], Broker]


@pytest.fixture(scope="module")
def postgres(shared_folder: Path) -> Iterator[tuple[int, Postgres]]:
    port = free_port()
    process = Postgres(port, passable(tempfile.mkdtemp(dir=shared_folder)) / "pg")
    yield port, process
    process.stop()


@pytest.fixture(params=["notify", "redis", "nats"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Own]:
    if request.param == "notify":
        port, process = request.getfixturevalue("postgres")
        options = StoreOptions(connect_timeout=CONNECT)
        yield Own(port, process, lambda: NotifyBroker(process.url, options))
        return
    port = free_port()
    if request.param == "redis":
        made = Own(port, redis_server(port, tmp_path), lambda: RedisBroker(f"redis://127.0.0.1:{port}", PREFIX))
    else:
        made = Own(port, nats_server(port), lambda: NatsBroker(f"nats://127.0.0.1:{port}", PREFIX))
    yield made
    made.process.stop(kill=True)


@pytest.fixture
async def pair(own: Own) -> AsyncIterator[tuple[Node, Node]]:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(running(own.broker())) for _ in range(2)]
        await one.enter("r")
        await two.enter("r")
        yield one, two


async def outage(one: Node, two: Node, caplog: pytest.LogCaptureFixture, begin: Callable[[], None]) -> None:
    """Begin an outage and keep it up: both servers notice it while events are sent, and neither is busy."""
    caplog.set_level(logging.INFO, "chatsys.bus")
    await asyncio.to_thread(begin)
    end = time.monotonic() + SECONDS
    used = time.process_time()
    while time.monotonic() < end or not (one.bus.deaf and two.bus.deaf):
        one.send("r", "during", two)
        await asyncio.sleep(0.05)
        assert time.monotonic() < end + 10 * LEASE
    assert time.process_time() - used < 0.5 * SECONDS
    assert sum("is unavailable" in record.getMessage() for record in caplog.records) == 2


async def recovered(one: Node, two: Node, caplog: pytest.LogCaptureFixture) -> None:
    await works_again(one, two)
    assert not one.bus.deaf
    assert not two.bus.deaf
    lines = [record.getMessage() for record in caplog.records]
    assert sum("is unavailable" in line for line in lines) == sum("works again" in line for line in lines) == 2


async def test_bus_notices_a_stopped_broker_and_works_again_after_it(
    own: Own, pair: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    try:
        await outage(*pair, caplog, own.process.suspend)
    finally:
        own.process.resume()
    await recovered(*pair, caplog)


@pytest.mark.usefixtures("packets_can_be_dropped")
async def test_bus_works_again_after_dropped_packets(
    own: Own, pair: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    dropping = packets_dropped([own.port])
    try:
        await outage(*pair, caplog, dropping.__enter__)
    finally:
        dropping.__exit__(None, None, None)
    await recovered(*pair, caplog)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "restarted"])
async def test_bus_works_again_after_its_broker_ended(own: Own, pair: tuple[Node, Node], kill: bool) -> None:
    one, two = pair
    one.send("r", "before", two)
    await two.until(lambda: texts(two) == ["before"])
    await asyncio.to_thread(own.process.stop, kill=kill)
    one.send("r", "meanwhile", two)
    await asyncio.to_thread(own.process.start)
    await works_again(one, two)
    assert texts(two).count("meanwhile") <= 1  # lost if the other server was not back yet, which then reads the room


async def test_bus_closes_quickly_while_its_broker_is_stopped(own: Own) -> None:
    try:
        async with running(own.broker()) as node:
            await node.enter("r")
            await asyncio.to_thread(own.process.suspend)
            node.send("r", "x" * 100_000, node)
            began = time.monotonic()
        assert time.monotonic() - began < 4
    finally:
        own.process.resume()
