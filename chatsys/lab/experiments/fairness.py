"""How one client's traffic slows others down: a big room beside a small one, and each flood beside a client's echo.

The store hardly matters here, so only one server is measured: PostgreSQL's if there is one. Each flood runs between two
calm repetitions, so that a drift of the machine affects both.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np

from chatsys.errors import ChatsysError
from chatsys.lab import statistics
from chatsys.lab.experiments.common import BIG_ROOM, Servers, believe_latency, believed, highest_memory
from chatsys.lab.provenance.machine import BUSY_SHARE
from chatsys.lab.runner.environment import Environment
from chatsys.lab.runner.scenario import ScenarioClients, scenario_clients
from chatsys.lab.subjects.servers import ServerProcess
from chatsys.lab.workloads.floods import FLOODS, HALF_POSTS
from chatsys.results.names import CONNECTIONS, DISCONNECTED, FLOOD, GROWTH, SENT, SERVER_SHARE

TAIL = "p99 of a small room"
NAMES = (*FLOODS, HALF_POSTS)
"""The floods that are measured."""

_PROBE_RATE = 500  # messages a second in the small room
_BURST_RATE = 20
_FAIR_ROUNDS = 10  # at least: tails vary more than medians
_ECHO_RATE = 50  # messages a second of the client beside a flood
_OTHERS = 4  # members who read in the flooded room
_WARM_UP = 0.5  # seconds
_LEAD = 0.15  # seconds for which the disturbing traffic runs before the timed part
_AFTER = 0.15  # seconds for which it continues afterwards


async def fairness(env: Environment, taking: Servers) -> None:
    """A room of two, alternating: alone, and while a big room gets 20 messages per second."""
    big = min(BIG_ROOM, max(env.profile.members))
    seconds = 2 * env.profile.stretch
    name, server = list(taking.items())[-1]
    env.step(f"fairness on {name}")
    tails = defaultdict[int, list[float]](list)
    async with (
        scenario_clients("probe", server, rate=_PROBE_RATE) as small,
        scenario_clients("burst", server, members=big, rate=_BURST_RATE) as room,
    ):

        async def busy() -> dict[str, Any]:
            noise = asyncio.create_task(room.repeat(seconds=seconds + _LEAD + _AFTER))
            await asyncio.sleep(_LEAD)  # let the traffic of the big room start first
            got = await small.repeat(seconds=seconds)
            believe_latency(env.result, await noise, f"a burst on {name}")
            return got

        await small.repeat(seconds=_WARM_UP)
        for number, members in env.line((0, big), max(_FAIR_ROUNDS, env.profile.stretches)):
            repeat = busy if members else partial(small.repeat, seconds=seconds)
            got = await believed(env.result, f"a small room on {name}", repeat)
            env.keep("fairness", "delivery", name, members, number, got["latency_us"])
            tails[members].append(float(np.quantile(got["latency_us"], 0.99)))
    for members, values in tails.items():
        env.point("fairness", name, members, TAIL, values, "µs")


async def floods(env: Environment, taking: Servers) -> None:
    """For each flood: the echo of a client's own messages, calm and while another client floods the server."""
    name, server = list(taking.items())[-1]
    for number, flood in enumerate(NAMES):
        env.step(f"flood on {name}: {flood}")
        try:
            await _flood(env, name, server, flood=flood, number=number)
        except ChatsysError as error:  # the next flood has its own clients
            env.result.invalid(f"flood of {flood}: {error.message}")


async def _flood(env: Environment, name: str, server: ServerProcess, *, flood: str, number: int) -> None:
    seconds = env.profile.flood
    taken: dict[int, list[statistics.Samples]] = {0: [], 1: []}
    room = f"flooded {number}"
    async with (
        scenario_clients("beside", server, room=room, others=_OTHERS, rate=_ECHO_RATE) as beside,
        scenario_clients("flood", server, kind=flood, room=room) as flooding,
    ):
        await beside.repeat(seconds=_WARM_UP)
        calm, disturbed = partial(beside.repeat, seconds=seconds / 2), partial(_flooded, beside, flooding, seconds)
        for index, flooded in enumerate((0, 1, 0)):
            got = await believed(env.result, f"the client beside {flood}", disturbed if flooded else calm)
            if flooded:
                _record_flood(env, flood, got)
            env.keep(FLOOD, flood, name, flooded, index, got["latency_us"])
            taken[flooded].append(np.array(got["latency_us"]))
    env.figure(FLOOD, flood, 1, DISCONNECTED, got["disconnected"], "1")
    for flooded, rounds in taken.items():
        env.quantiles(FLOOD, flood, flooded, rounds, ("p50", "p99", "max"))


async def _flooded(beside: ScenarioClients, flooding: ScenarioClients, seconds: float) -> dict[str, Any]:
    """A repetition of the client beside a flood, with the measurements of the flood and the growth of server memory."""
    async with highest_memory(beside.server) as seen:
        flood = asyncio.create_task(flooding.repeat(seconds=seconds + _LEAD + _AFTER))
        await asyncio.sleep(_LEAD)
        try:
            got = await beside.repeat(seconds=seconds)
        except BaseException:
            flood.cancel()
            raise
        return {**got, "flood": await flood, "grown": max(seen) - seen[0]}


def _record_flood(env: Environment, flood: str, got: dict[str, Any]) -> None:
    """Record the flood. The run is invalid if it sent nothing; a flood that filled its processor is a limitation."""
    sent = got["flood"]
    if not sent["sent"]:
        env.result.invalid(f"the flood of {flood} sent nothing")
    if sent["generator_cpu"] > BUSY_SHARE * sent["seconds"] > got["server_cpu"]:
        env.result.limited(f"The flood of {flood} used its whole processor: a faster client could send more.")
    env.figure(FLOOD, flood, 1, GROWTH, got["grown"], "B")
    env.figure(FLOOD, flood, 1, SENT, sent["sent"] / sent["seconds"], "B/s")
    env.figure(FLOOD, flood, 1, CONNECTIONS, sent["connections"], "1")
    env.figure(FLOOD, flood, 1, SERVER_SHARE, got["server_cpu"] / got["seconds"], "1")
