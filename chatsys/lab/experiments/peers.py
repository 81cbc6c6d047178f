"""Other Socket.IO servers and chatsys in one run, alternating: fan-out, echo, idle connections. It needs Node.js.

The servers alternate on one processor; the load generators use the other one. chatsys stores its messages in memory
here, while the others store nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import numpy as np

from chatsys.lab.experiments.common import Servers, audit, clients_of
from chatsys.lab.peers import PEERS, installed
from chatsys.lab.provenance.machine import processors, saturated
from chatsys.lab.runner.environment import Environment, Experiment
from chatsys.lab.runner.scenario import scenario_clients
from chatsys.lab.subjects.servers import ServerProcess, chat_server, start_all

NAME = "peers"
OURS = "chatsys"
RATE, CPU, ECHO, IDLE = "deliveries/s", "CPU per delivery", "echo p50", "bytes per idle connection"
_SECONDS = 1.0
_FIRST = 200  # connections before the measured ones, so that one-time allocations do not count
_LIMITATION = (
    "The peers store nothing and have no accounts. They do less than chatsys, which numbers each message and stores it"
    " in memory. All servers alternate on one processor; the load generators use the other one."
)


async def perform(env: Environment) -> None:
    """Measure all servers, and record rates, processor times, echoes and memory."""
    env.step("peers: installing from npm")
    versions = await asyncio.to_thread(installed, _folder(env))
    env.result.environment["peers"] = versions
    env.result.limited(_LIMITATION)
    async with _servers(env) as taking:
        env.watch.reasons()
        await _echo(env, taking)
        for members in env.profile.peer_members:
            env.step(f"peers: fan-out to {members:,}")
            await _fanout(env, taking, members)
        env.disturbed()
    async with _servers(env) as taking:  # new servers: memory that earlier clients freed would hide the cost
        for name, server in taking.items():
            env.step(f"peers: idle connections, {name}")
            await _idle(env, name, server)


def _folder(env: Environment) -> Path:
    """The folder into which npm installs the peers."""
    return (env.data_dir / "peers").absolute()


@asynccontextmanager
async def _servers(env: Environment) -> AsyncIterator[Servers]:
    cpu = processors()[0]
    ours = chat_server(env.empty("memory", NAME), cpu=cpu)
    starting = {OURS: ours, **{peer.name: peer.start(_folder(env), cpu) for peer in PEERS}}
    with ExitStack() as stack:
        started = await asyncio.to_thread(start_all, stack, list(starting.values()))
        yield dict(zip(starting, started, strict=True))


async def _fanout(env: Environment, taking: Servers, members: int) -> None:
    rates, costs = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    bounds: set[str] = set()
    async with clients_of("fanout", taking, members=members) as clients:
        for _, name in env.line(taking):
            got = await clients[name].repeat(seconds=_SECONDS)
            audit(env.result, got, f"fan-out to {members} on {name}")
            if saturated(got):
                bounds.add(name)
            rates[name].append(got["deliveries"] / got["seconds"])
            costs[name].append(got["server_cpu"] * 1e6 / got["deliveries"])
    for name in taking:
        env.point(NAME, name, members, RATE, rates[name], "1/s", lower_bound=name in bounds)
        env.point(NAME, name, members, CPU, costs[name], "µs")


async def _echo(env: Environment, taking: Servers) -> None:
    """One sender alone in its room sends in a closed loop."""
    env.step("peers: echo")
    repetitions = env.profile.stretches
    medians = defaultdict[str, list[float]](list)
    async with clients_of("senders", taking, senders=1, seconds=_SECONDS, repetitions=repetitions) as clients:
        for number, name in env.line(taking):
            got = await clients[name].repeat()
            audit(env.result, got, f"the echo on {name}")
            medians[name].append(float(np.median(got["latency_us"])))
            env.keep(NAME, "echo", name, 1, number, got["latency_us"])
    for name in taking:
        env.point(NAME, name, 1, ECHO, medians[name], "µs")


async def _idle(env: Environment, name: str, server: ServerProcess) -> None:
    """Memory per connection that has joined no room."""
    wanted = env.profile.peer_idle
    async with scenario_clients("idle", server, connections=_FIRST) as first:
        await first.repeat()
        before = server.resident_bytes
        async with scenario_clients("idle", server, connections=wanted) as clients:
            got = await clients.repeat()
            grown = server.resident_bytes - before
    if got["connections"] < wanted:
        env.result.limited(f"{name} closed {wanted - got['connections']} of {wanted} idle connections.")
    env.point(NAME, name, wanted, IDLE, [grown / wanted], "B", difference=True)


def _steps(env: Environment) -> int:
    wanted = "socket" in env.depths and env.wants(NAME)
    return 2 + len(env.profile.peer_members) + 1 + len(PEERS) if wanted else 0


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
