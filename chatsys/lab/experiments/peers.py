"""Other Socket.IO servers beside chatsys in one run, by turns: fan-out, echo, idle connections. They need Node.js.

The servers share one processor and take turns; the load generators have the other one. chatsys keeps its messages in
memory here: the others keep none at all.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import numpy as np

from chatsys.lab.experiments.playing import Servers, audit, crowds, keep, line, point
from chatsys.lab.peers import PEERS, installed
from chatsys.lab.provenance.machine import processors, saturated
from chatsys.lab.runner.environment import Experiment, Stage
from chatsys.lab.runner.scenario import scene
from chatsys.lab.subjects.servers import ServerProcess, chat_server, start_all

NAME = "peers"
OURS = "chatsys"
RATE, CPU, ECHO, IDLE = "deliveries/s", "CPU per delivery", "echo p50", "bytes per idle connection"
_FOLDER = Path(".chatsys/peers")
_SECONDS = 1.0
_FIRST = 200  # connections before those that are weighed: what a process allocates once is not theirs
_LIMITATION = (
    "The peers keep nothing and know no accounts: they do less than chatsys, which numbers and keeps each message in"
    " memory. All of them share one processor and take turns; the load generators have the other one."
)


async def perform(stage: Stage) -> None:
    """Measure all of them; rates, processor times, echoes and memory go into the record."""
    if not _steps(stage):
        return
    stage.step("peers: installing from npm")
    versions = await asyncio.to_thread(installed, _FOLDER)
    stage.result.environment["peers"] = versions
    stage.result.limited(_LIMITATION)
    async with _servers(stage) as taking:
        stage.watch.reasons()
        await _echo(stage, taking)
        for members in stage.profile.peer_members:
            stage.step(f"peers: fan-out to {members:,}")
            await _fanout(stage, taking, members)
        stage.disturbed()
    async with _servers(stage) as taking:  # what earlier crowds have given back would hide what a connection costs
        for name, server in taking.items():
            stage.step(f"peers: idle connections, {name}")
            await _idle(stage, name, server)


@asynccontextmanager
async def _servers(stage: Stage) -> AsyncIterator[Servers]:
    cpu = processors()[0]
    ours = chat_server(stage.empty("memory", NAME), cpu=cpu)
    starting = {OURS: ours, **{peer.name: peer.start(_FOLDER.absolute(), cpu) for peer in PEERS}}
    with ExitStack() as stack:
        started = await asyncio.to_thread(start_all, stack, list(starting.values()))
        yield dict(zip(starting, started, strict=True))


async def _fanout(stage: Stage, taking: Servers, members: int) -> None:
    rates, costs = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    bounds: set[str] = set()
    async with crowds("fanout", taking, members=members) as crowd:
        for _, name in line(stage, list(taking)):
            got = await crowd[name].turn(seconds=_SECONDS)
            audit(stage.result, got, f"fan-out to {members} on {name}")
            if saturated(got):
                bounds.add(name)
            rates[name].append(got["deliveries"] / got["seconds"])
            costs[name].append(got["server_cpu"] * 1e6 / got["deliveries"])
    for name in taking:
        point(stage, NAME, name, members, RATE, rates[name], "1/s", lower_bound=name in bounds)
        point(stage, NAME, name, members, CPU, costs[name], "µs")


async def _echo(stage: Stage, taking: Servers) -> None:
    """One sender alone in its room, in a closed loop."""
    stage.step("peers: echo")
    turns = stage.profile.stretches
    medians = defaultdict[str, list[float]](list)
    async with crowds("senders", taking, senders=1, seconds=_SECONDS, turns=turns) as crowd:
        for number, name in line(stage, list(taking)):
            got = await crowd[name].turn()
            audit(stage.result, got, f"the echo on {name}")
            medians[name].append(float(np.median(got["latency_us"])))
            keep(stage, NAME, "echo", name, size=1, number=number, taken=got["latency_us"])
    for name in taking:
        point(stage, NAME, name, 1, ECHO, medians[name], "µs")


async def _idle(stage: Stage, name: str, server: ServerProcess) -> None:
    """Memory of each connection that has joined nothing."""
    wanted = stage.profile.peer_idle
    async with scene("idle", server, connections=_FIRST) as first:
        await first.turn()
        before = server.resident_bytes
        async with scene("idle", server, connections=wanted) as crowd:
            got = await crowd.turn()
            grown = server.resident_bytes - before
    if got["connections"] < wanted:
        stage.result.limited(f"{name} closed {wanted - got['connections']} of {wanted} idle connections.")
    point(stage, NAME, name, wanted, IDLE, [grown / wanted], "B", difference=True)


def _steps(stage: Stage) -> int:
    wanted = "socket" in stage.depths and stage.wants(NAME)
    return 2 + len(stage.profile.peer_members) + 1 + len(PEERS) if wanted else 0


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
