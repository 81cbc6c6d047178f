"""What one client's traffic costs the others: a big room beside a small one, and each flood beside a client's echo.

Both have little to do with the store: one server, PostgreSQL's where there is one, stands for both. Each flood follows
a calm turn and is followed by another, so that a machine that drifts slows both.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from functools import partial
from typing import Any

import numpy as np

from chatsys.errors import ChatsysError
from chatsys.lab import statistics
from chatsys.lab.experiments.playing import (
    CROWD,
    Part,
    Servers,
    believe_latency,
    believed,
    highest_memory,
    keep,
    line,
    point,
)
from chatsys.lab.provenance.machine import BUSY_SHARE
from chatsys.lab.record import Point
from chatsys.lab.runner.environment import Stage
from chatsys.lab.runner.scenario import Scene, scene
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
_OTHERS = 4  # members of the room that is flooded, who read
_WARM_UP = 0.5  # seconds
_LEAD = 0.15  # seconds that others are at it before anybody is timed
_AFTER = 0.15  # seconds that they go on


async def fairness(stage: Stage, taking: Servers) -> None:
    """A room of two, alone and while a big room gets 20 messages a second, in turns."""
    big = min(CROWD, max(stage.profile.members))
    seconds = 2 * stage.profile.stretch
    name, server = list(taking.items())[-1]
    stage.step(f"fairness on {name}")
    tails = defaultdict[int, list[float]](list)
    async with (
        scene("probe", server, rate=_PROBE_RATE) as small,
        scene("burst", server, members=big, rate=_BURST_RATE) as room,
    ):

        async def busy() -> dict[str, Any]:
            noise = asyncio.create_task(room.turn(seconds=seconds + _LEAD + _AFTER))
            await asyncio.sleep(_LEAD)  # the big room is at it before the small one is probed
            got = await small.turn(seconds=seconds)
            believe_latency(stage.result, await noise, f"a burst on {name}")
            return got

        await small.turn(seconds=_WARM_UP)
        for number, members in line(stage, (0, big), max(_FAIR_ROUNDS, stage.profile.stretches)):
            turn = busy if members else partial(small.turn, seconds=seconds)
            got = await believed(stage.result, f"a small room on {name}", turn)
            keep(stage, "fairness", "delivery", name, size=members, number=number, taken=got["latency_us"])
            tails[members].append(float(np.quantile(got["latency_us"], 0.99)))
    for members, values in tails.items():
        point(stage, "fairness", name, members, TAIL, values, "µs")


async def floods(stage: Stage, taking: Servers) -> None:
    """The echo of a client's own messages, calm and while another client floods the server, for each flood."""
    name, server = list(taking.items())[-1]
    for number, flood in enumerate(NAMES):
        stage.step(f"flood on {name}: {flood}")
        try:
            await _flood(stage, name, server, flood=flood, number=number)
        except ChatsysError as error:  # the other floods have clients of their own
            stage.result.invalid(f"flood of {flood}: {error.message}")


async def _flood(stage: Stage, name: str, server: ServerProcess, *, flood: str, number: int) -> None:
    seconds = stage.profile.flood
    taken: dict[int, list[statistics.Samples]] = {0: [], 1: []}
    room = f"flooded {number}"
    async with (
        scene("beside", server, room=room, others=_OTHERS, rate=_ECHO_RATE) as beside,
        scene("flood", server, kind=flood, room=room) as flooding,
    ):
        await beside.turn(seconds=_WARM_UP)
        for turn, under_way in enumerate((0, 1, 0)):
            what = f"the client beside {flood}"
            calm = partial(beside.turn, seconds=seconds / 2)
            if under_way:
                got = await believed(stage.result, what, partial(_flooded, beside, flooding, seconds))
                _record_flood(stage, flood, got)
            else:
                got = await believed(stage.result, what, calm)
            keep(stage, FLOOD, flood, name, size=under_way, number=turn, taken=got["latency_us"])
            taken[under_way].append(np.array(got["latency_us"]))
    _figure(stage, flood, DISCONNECTED, got["disconnected"], "1")
    for under_way, rounds in taken.items():
        _record_latencies(stage, flood, under_way, rounds)


async def _flooded(beside: Scene, flooding: Scene, seconds: float) -> dict[str, Any]:
    """A turn of the client beside a flood, with what the flood did and how much more memory the server had at most."""
    async with highest_memory(beside.server) as seen:
        flood = asyncio.create_task(flooding.turn(seconds=seconds + _LEAD + _AFTER))
        await asyncio.sleep(_LEAD)
        got = await _or_cancel(beside.turn(seconds=seconds), flood)
        return {**got, "flood": await flood, "grown": max(seen) - seen[0]}


async def _or_cancel(work: Awaitable[dict[str, Any]], other: asyncio.Task[Any]) -> dict[str, Any]:
    try:
        return await work
    except BaseException:
        other.cancel()
        raise


def _record_flood(stage: Stage, flood: str, got: dict[str, Any]) -> None:
    """What the flood did. One that sent nothing has shown nothing; one that had no processor left is a limitation."""
    sent = got["flood"]
    if not sent["sent"]:
        stage.result.invalid(f"the flood of {flood} sent nothing")
    if sent["generator_cpu"] > BUSY_SHARE * sent["seconds"] > got["server_cpu"]:
        stage.result.limited(f"The flood of {flood} filled its own processor: a faster client could send more.")
    _figure(stage, flood, GROWTH, got["grown"], "B")
    _figure(stage, flood, SENT, sent["sent"] / sent["seconds"], "B/s")
    _figure(stage, flood, CONNECTIONS, sent["connections"], "1")
    _figure(stage, flood, SERVER_SHARE, got["server_cpu"] / got["seconds"], "1")


def _record_latencies(stage: Stage, flood: str, under_way: int, rounds: statistics.Rounds) -> None:
    figures = statistics.summary(rounds, stage.seed)
    for metric, value in (("p50", figures.p50_us), ("p99", figures.p99_us), ("max", figures.max_us)):
        interval = figures.interval if metric == "p50" else None
        stage.result.points.append(
            Point(
                experiment=FLOOD,
                subject=flood,
                x=under_way,
                metric=metric,
                value=value,
                unit="µs",
                interval=interval,
                n=figures.n,
            )
        )


def _figure(stage: Stage, flood: str, metric: str, value: float, unit: str) -> None:
    stage.result.points.append(Point(experiment=FLOOD, subject=flood, x=1, metric=metric, value=value, unit=unit))


PARTS = (
    Part("fairness", fairness, lambda _: 1, stock=False),
    Part("fairness_floods", floods, lambda _: len(NAMES), stock=False),
)
