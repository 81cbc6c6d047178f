"""Real time: fan-out, senders, slow readers, fairness, idle connections, receipts and a storm of joins, each beside its
baseline in the same run. What is lost, doubled or swapped makes the run invalid."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any, NamedTuple

import numpy as np

from chatsys.lab.load import empty_database
from chatsys.lab.machine import GENERATOR_SHARE
from chatsys.lab.record import Point
from chatsys.lab.scene import played, scene
from chatsys.lab.servers import ServerProcess, chat_server, stock_server
from chatsys.lab.stage import Experiment, Stage

STOCK = "stock python-socketio"
_STOCK_RATE = 40_000  # deliveries a second that a turn is sized for
_CROWD = 500
_TEXT = 10_000  # bytes of a message to slow readers
_MIB = 1024 * 1024

Servers = dict[str, ServerProcess]
Play = Callable[[Stage, Servers], Awaitable[None]]


@asynccontextmanager
async def servers(stage: Stage, *, stock: bool = True) -> AsyncIterator[Servers]:
    """One server for each store that is wanted, and the stock one."""
    cpu = stage.cpus[0]
    with ExitStack() as stack:
        found: Servers = {}
        for store in stage.stores:
            url = "memory://" if store == "memory" else empty_database(stage.server_url, "chatsys_lab_realtime")
            found[store] = stack.enter_context(chat_server(url, cpu=cpu))
        if stock:
            found[STOCK] = stack.enter_context(stock_server(cpu=cpu))
        yield found


async def fanout(stage: Stage, taking: Servers) -> None:
    """Deliveries a second to rooms of growing size, counted at the receivers."""
    for members in stage.profile.members:
        stage.step(f"fan-out to {members}")
        messages = int(np.clip(_STOCK_RATE * stage.profile.stretch / members, 20, 1_000))
        rates: dict[str, list[float]] = {name: [] for name in taking}
        for name, server in _turns(stage, taking):
            got = await played("fanout", server.url, members=members, messages=messages)
            _audit(stage, got, f"fan-out to {members} on {name}")
            rates[name].append(got["deliveries"] / got["seconds"])
        for name, values in rates.items():
            _point(stage, "fanout", name, members, "deliveries/s", values, "1/s")


async def senders(stage: Stage, taking: Servers) -> None:
    """Throughput and latency, from sending to the sender's own echo, with a growing number of senders."""
    for number in stage.profile.senders:
        stage.step(f"{number} senders")
        rates: dict[str, list[float]] = {name: [] for name in taking}
        middles: dict[str, list[float]] = {name: [] for name in taking}
        tails: dict[str, list[float]] = {name: [] for name in taking}
        for name, server in _turns(stage, taking):
            got = await played("senders", server.url, senders=number, seconds=stage.profile.stretch)
            _audit(stage, got, f"{number} senders on {name}")
            if got["stored"] != got["sent"]:
                stage.result.invalid(f"{number} senders on {name}: {got['sent']} sent and {got['stored']} stored")
            rates[name].append(got["throughput_per_second"])
            middles[name].append(float(np.median(got["latency_us"])))
            tails[name].append(float(np.quantile(got["latency_us"], 0.99)))
        for name in taking:
            _point(stage, "senders", name, number, "messages/s", rates[name], "1/s")
            _point(stage, "senders", name, number, "p50", middles[name], "µs")
            _point(stage, "senders", name, number, "p99", tails[name], "µs")


async def idle(stage: Stage, taking: Servers) -> None:
    """Resident memory of the server for each connection that has joined nothing.

    As many connections are there before: what a server has in reserve would hide the cost of the first ones.
    """
    number = stage.profile.idle_connections
    for name, server in taking.items():
        stage.step(f"{number} idle connections on {name}")
        await played("fanout", server.url, members=2, messages=20)  # code and buffers that any traffic brings
        async with scene("idle", server.url, connections=number) as first:
            await first.ready()
            before = server.resident_bytes
            async with scene("idle", server.url, connections=number) as crowd:
                await crowd.ready()
                after = server.resident_bytes
                await crowd.release()
                got = await crowd.measurements()
        if got["connections"] != number:
            stage.result.invalid(f"{name} closed {number - got['connections']} of {number} idle connections")
        _point(stage, "idle", name, number, "bytes a connection", [(after - before) / number], "B")


async def fairness(stage: Stage, taking: Servers) -> None:
    """A room of two, alone and while a big room gets 20 messages a second."""
    big = min(_CROWD, max(stage.profile.members))
    for name, server in taking.items():
        stage.step(f"fairness on {name}")
        quiet = await _probed(stage, server, name)
        async with scene("burst", server.url, members=big, rate=20, seconds=3 * stage.profile.stretch + 1) as crowd:
            await crowd.ready()
            busy = await _probed(stage, server, name)
            _audit(stage, await crowd.measurements(), f"a burst on {name}")
        _point(stage, "fairness", name, 0, "p99 of a small room", [float(np.quantile(quiet, 0.99))], "µs")
        _point(stage, "fairness", name, big, "p99 of a small room", [float(np.quantile(busy, 0.99))], "µs")


async def slow_reader(stage: Stage, taking: Servers) -> None:
    """A room under 1 MB/s of traffic for each member, without and with a member that has stopped reading."""
    for name, server in taking.items():
        stage.step(f"a slow reader on {name}")
        tails = []
        for stuck in (False, True):
            before = server.resident_bytes
            got = await played(
                "slow_reader",
                server.url,
                members=10,
                rate=1_000_000 / _TEXT,
                seconds=max(2.0, 2 * stage.profile.stretch),
                text_bytes=_TEXT,
                stuck=stuck,
            )
            _audit(stage, got, f"slow reader on {name}")
            tails.append(float(np.quantile(got["latency_us"], 0.99)))
            _point(stage, "slow reader", name, int(stuck), "p99 of the others", [tails[-1]], "µs")
        grown = (server.resident_bytes - before) / _MIB
        _point(stage, "slow reader", name, 1, "server memory grown", [grown], "MiB")


async def receipts(stage: Stage, taking: Servers) -> None:
    """One message to a room, read by all at once: n receipts and n² updates."""
    for members in [number for number in stage.profile.members if number > 1]:
        stage.step(f"receipts of {members}")
        for name, server in taking.items():
            got = await played("receipts", server.url, members=members, readers=members - 1)
            if not got["complete"]:
                stage.result.invalid(f"receipts of {members} on {name}: updates were missing")
            _point(stage, "receipts", name, members, "seconds", [got["seconds"]], "s")
            _point(stage, "receipts", name, members, "updates", [got["updates"]], "1")


async def storm(stage: Stage, taking: Servers) -> None:
    """Everybody joins one room within two seconds."""
    members = min(_CROWD, max(stage.profile.members))
    for name, server in taking.items():
        stage.step(f"{members} join on {name}")
        got = await played("storm", server.url, members=members, seconds=2)
        if got["complete"] != members:
            stage.result.invalid(f"a storm of joins on {name}: {members - got['complete']} lists were not complete")
        _point(stage, "storm", name, members, "bytes sent", [got["bytes"]], "B")
        _point(stage, "storm", name, members, "seconds until settled", [got["settled_seconds"]], "s")


def _turns(stage: Stage, taking: Servers) -> list[tuple[str, ServerProcess]]:
    """A B C, C B A, …"""
    line = list(taking.items())
    return [turn for number in range(stage.profile.stretches) for turn in (line if number % 2 == 0 else line[::-1])]


async def _probed(stage: Stage, server: ServerProcess, name: str) -> list[float]:
    got = await played("probe", server.url, rate=50, seconds=max(1.0, 3 * stage.profile.stretch))
    _audit(stage, got, f"a small room on {name}")
    latencies: list[float] = got["latency_us"]
    return latencies


def _audit(stage: Stage, got: dict[str, Any], what: str) -> None:
    for fault in ("lost", "doubled", "swapped"):
        if got.get(fault):
            stage.result.invalid(f"{what}: {got[fault]} messages {fault}")
    seconds = got.get("seconds", 0) * 1.2
    if seconds and got.get("generator_cpu", 0) > GENERATOR_SHARE * seconds:
        stage.result.limitations.append(f"The load generator of {what} was saturated: the server could have done more.")


def _point(  # noqa: PLR0917 - one figure of a curve
    stage: Stage, experiment: str, subject: str, x: float, metric: str, values: Sequence[float], unit: str
) -> None:
    stage.result.points.append(
        Point(
            experiment=experiment,
            subject=subject,
            x=x,
            metric=metric,
            value=float(np.median(values)),
            unit=unit,
            n=len(values),
        )
    )


class Part(NamedTuple):
    """One of the experiments: they share their servers, since starting those takes longer than many of them."""

    name: str
    play: Play
    steps: Callable[[Stage], int]
    stock: bool


def _plays(stage: Stage) -> list[Part]:
    return [part for part in PARTS if stage.wants(part.name)] if "socket" in stage.depths else []


async def perform(stage: Stage) -> None:
    """Play every part that is wanted against the same servers; the baseline takes part where there is one."""
    parts = _plays(stage)
    if not parts:
        return
    async with servers(stage, stock=any(part.stock for part in parts)) as everyone:
        own = {name: server for name, server in everyone.items() if name != STOCK}
        for part in parts:
            stage.watch.reasons()
            await part.play(stage, everyone if part.stock else own)
            stage.disturbed()


PARTS = (
    Part("idle", idle, lambda stage: len(stage.stores) + 1, stock=True),
    Part("fanout", fanout, lambda stage: len(stage.profile.members), stock=True),
    Part("senders", senders, lambda stage: len(stage.profile.senders), stock=False),
    Part("fairness", fairness, lambda stage: len(stage.stores), stock=False),
    Part("slow_reader", slow_reader, lambda stage: len(stage.stores), stock=False),
    Part("receipts", receipts, lambda stage: sum(n > 1 for n in stage.profile.members), stock=False),
    Part("storm", storm, lambda stage: len(stage.stores), stock=False),
)

EXPERIMENT = Experiment(
    names=tuple(part.name for part in PARTS),
    steps=lambda stage: sum(part.steps(stage) for part in _plays(stage)),
    perform=perform,
)
