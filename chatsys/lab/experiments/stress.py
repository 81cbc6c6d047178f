"""How clients burden a server and one another: idle, not reading, all answering, all joining, thousands in a room.

The store hardly matters for a slow reader, a storm of joins and a large room, so only one server is measured:
PostgreSQL's if there is one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np

from chatsys.lab.experiments.common import BIG_ROOM, Servers, audit, believed, clients_of, highest_memory
from chatsys.lab.provenance.machine import processors
from chatsys.lab.runner.environment import Environment
from chatsys.lab.runner.scenario import ScenarioClients, scenario_clients
from chatsys.lab.subjects.servers import chat_server

_SLOW_ROUNDS = 6  # at least: tails vary more than medians
_TEXT = "ж" * 10_000  # the longest message, with two bytes per character
_SLOW_RATE = 100  # messages per second: 2 MB/s for each member
_SLOW_SECONDS = 2.5  # 5 MB: more than half the budget (frames count twice) plus the kernel's buffers
_BUDGET = 8 * 2**20  # bytes: free memory of the server would hide the cost of the smaller default budget
_OTHERS = 6  # members who read
_WARM_UP = 0.5  # seconds
_STORM_SECONDS, _STORMS = 2, 3
_BESIDE_RATE = 50  # messages a second
_PHASES = _JOINING, _SENDING, _LEAVING = "all join", "one sends", "most vanish"
_NOT_CUT_OFF = "The slow reader was not disconnected: the kernel's buffers held everything that it was sent."
OTHERS, CUT_OFF = "p99 of the others", "memory that it costs, in budgets"


async def idle(env: Environment, taking: Servers) -> None:
    """Resident memory of the server per connection that has joined no room.

    As many connections exist before: free memory of the server would hide the cost of the first ones.
    """
    step = max(1, env.profile.idle_connections // env.profile.stretches)
    for name, server in taking.items():
        env.step(f"idle connections on {name}")
        costs = []
        async with scenario_clients("fanout", server, members=2):
            pass  # allocate the code and the buffers that any traffic needs
        async with scenario_clients("idle", server, connections=env.profile.idle_connections) as first:
            await first.repeat()
            async with scenario_clients("idle", server, connections=step) as clients:
                for number in range(1, env.profile.stretches + 1):
                    before = server.resident_bytes
                    got = await clients.repeat()
                    costs.append((server.resident_bytes - before) / step)
                    if got["connections"] != number * step:
                        env.result.invalid(f"{name} closed idle connections")
        env.point("idle", name, env.profile.idle_connections, "bytes a connection", costs, "B")


async def slow_reader(env: Environment, taking: Servers) -> None:
    """A room with 2 MB/s of traffic per member, alternating: without and with a member that has stopped reading."""
    name = list(taking)[-1]
    settings = {"CHATSYS_SEND_BUFFER_BYTES": str(_BUDGET), "CHATSYS_STALLED_WITHIN": "1"}
    env.step(f"a slow reader on {name}")
    tails = defaultdict[int, list[float]](list)
    grown = defaultdict[int, list[float]](list)
    with chat_server(env.empty(name, "slow"), settings=settings, cpu=processors()[0]) as server:
        async with scenario_clients("slow_reader", server, members=_OTHERS, rate=_SLOW_RATE, text=_TEXT) as clients:
            await _slow_repetition(clients, stuck=False, seconds=_WARM_UP)
            for number, stuck in env.line((0, 1), max(_SLOW_ROUNDS, env.profile.stretches)):
                repeat = partial(_slow_repetition, clients, stuck=bool(stuck), seconds=_SLOW_SECONDS)
                got = await believed(env.result, f"a slow reader on {name}", repeat)
                if stuck and not got["disconnected"]:
                    env.result.limited(_NOT_CUT_OFF)
                env.keep("slow reader", "delivery", name, stuck, number, got["latency_us"])
                tails[stuck].append(float(np.quantile(got["latency_us"], 0.99)))
                grown[stuck].append(got["grown"] / _BUDGET)
    for stuck, values in tails.items():
        env.point("slow reader", name, stuck, OTHERS, values, "µs")
    more = [with_it - without for with_it, without in zip(grown[1], grown[0], strict=True)]
    env.point("slow reader", name, 1, CUT_OFF, more, "1")


async def _slow_repetition(clients: ScenarioClients, *, stuck: bool, seconds: float) -> dict[str, Any]:
    """The measurements, and by how many bytes the server had ``grown`` at most after the last member joined."""
    await clients.repeat()
    async with highest_memory(clients.server) as seen:
        got = await clients.repeat(stuck=stuck, seconds=seconds)
    return {**got, "grown": max(seen) - seen[0]}


async def receipts(env: Environment, taking: Servers) -> None:
    """One message to a room, read by all at once: n receipts and n² updates."""
    for members in receipt_rooms(env):
        env.step(f"receipts of {members}")
        seconds, updates = defaultdict[str, list[float]](list), {}
        async with clients_of("receipts", taking, members=members) as clients:
            for _, name in env.line(taking):
                got = await clients[name].repeat()
                if not got["complete"]:
                    env.result.invalid(f"receipts of {members} on {name}: updates were missing")
                seconds[name].append(got["seconds"])
                updates[name] = got["updates"]
        for name, values in seconds.items():
            env.point("receipts", name, members, "seconds", values, "s")
            env.point("receipts", name, members, "updates", [updates[name]], "1")


async def storm(env: Environment, taking: Servers) -> None:
    """Everybody joins one room within two seconds: a big room, and one of half its size, to see what doubling costs."""
    big = min(BIG_ROOM, max(env.profile.members))
    name, server = list(taking.items())[-1]
    for members in (big // 2, big):
        env.step(f"{members} join on {name}")
        sent, settled = [], []
        async with scenario_clients("storm", server, members=members, seconds=_STORM_SECONDS) as clients:
            for _ in range(_STORMS):
                got = await clients.repeat()
                if got["complete"] != members:
                    env.result.invalid(f"a storm of joins on {name}: not every list of users was complete")
                sent.append(got["bytes"])
                settled.append(got["settled_seconds"])
        env.point("storm", name, members, "bytes sent", sent, "B")
        env.point("storm", name, members, "seconds until settled", settled, "s")


async def large_room(env: Environment, taking: Servers) -> None:
    """Thousands of members: how long until all have joined, until all have a message, and until most have left.

    Meanwhile a client alone in its room sends 50 messages per second and times its own copies.
    """
    name, server = list(taking.items())[-1]
    members, gone = env.profile.large_room, env.profile.large_room * 3 // 5
    env.step(f"a room of {members} on {name}")

    def record(metric: str, value: float, unit: str) -> None:
        env.point("large room", name, members, metric, [value], unit)

    async with (
        scenario_clients("beside", server, room="", others=0, rate=_BESIDE_RATE) as beside,
        scenario_clients("large_room", server, members=members, vanishing=gone) as clients,
    ):

        async def watched(phase: str, **order: float) -> dict[str, Any]:
            """Perform a repetition of the large room, and record the latencies of the client beside it."""
            running = asyncio.create_task(clients.repeat(**order))
            taken: list[float] = []
            while not (taken and running.done()):
                got = await believed(env.result, f"the client beside a large room, {phase}", beside_once)
                taken += got["latency_us"]
            found = await running
            number = _PHASES.index(phase)
            env.keep("large room", "delivery", name, members, number, taken)
            record(f"p99 beside, {phase}", float(np.quantile(taken, 0.99)), "µs")
            record(f"longest beside, {phase}", max(taken), "µs")
            return found

        beside_once = partial(beside.repeat, seconds=1)
        await beside.repeat(seconds=_WARM_UP)
        got = await watched(_JOINING)
        record("until all are in", got["seconds"], "s")
        got = await watched(_SENDING, seconds=env.profile.flood)
        audit(env.result, got, f"a room of {members} on {name}")
        record("until all have a message", got["seconds"] / got["starts"], "s")
        got = await watched(_LEAVING)
        if got["left"] != members - gone:
            env.result.invalid(f"{got['left']} of {members} members were left on {name} after {gone} had gone")
        record(f"until {gone:,} have gone", got["seconds"], "s")


def receipt_rooms(env: Environment) -> list[int]:
    """Sizes of rooms in which all send receipts. Twice as many members cause eight times as many names."""
    return [number for number in (2, 10, 30, 100, 200) if number <= max(env.profile.members)]
