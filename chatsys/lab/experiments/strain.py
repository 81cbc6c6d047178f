"""What clients do to a server and to one another: idle, not reading, all answering, all joining, thousands in a room.

A slow reader, a storm of joins and a large room have little to do with the store: one server, PostgreSQL's where there
is one, stands for both.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np

from chatsys.lab.experiments.playing import (
    CROWD,
    Part,
    Servers,
    audit,
    believed,
    crowds,
    highest_memory,
    keep,
    line,
    point,
)
from chatsys.lab.provenance.machine import processors
from chatsys.lab.runner.environment import Stage
from chatsys.lab.runner.scenario import Scene, scene
from chatsys.lab.subjects.servers import chat_server

_SLOW_ROUNDS = 6  # at least: tails vary more than medians
_TEXT = "ж" * 10_000  # to slow readers: the most characters that a message may have, two bytes each
_SLOW_RATE = 100  # messages a second, 2 MB/s for each member
_SLOW_SECONDS = 2.5  # 5 MB: more than half the budget (frames count twice) and what the kernel keeps
_BUDGET = 8 * 2**20  # bytes: well above what a server has in reserve, which would hide the cost of the default budget
_OTHERS = 6  # members who read
_WARM_UP = 0.5  # seconds
_STORM_SECONDS, _STORMS = 2, 3
_BESIDE_RATE = 50  # messages a second
_PHASES = _JOINING, _SENDING, _LEAVING = "all join", "one sends", "most vanish"
_NOT_CUT_OFF = "The slow reader was not cut off: the kernel's buffers took all that it was sent."
OTHERS, CUT_OFF = "p99 of the others", "memory that it costs, in budgets"


async def idle(stage: Stage, taking: Servers) -> None:
    """Resident memory of the server for each connection that has joined nothing.

    As many connections are there before: what a server has in reserve would hide the cost of the first ones.
    """
    step = max(1, stage.profile.idle_connections // stage.profile.stretches)
    for name, server in taking.items():
        stage.step(f"idle connections on {name}")
        costs = []
        async with scene("fanout", server, members=2):
            pass  # brings the code and the buffers that any traffic needs
        async with scene("idle", server, connections=stage.profile.idle_connections) as first:
            await first.turn()
            async with scene("idle", server, connections=step) as crowd:
                for number in range(1, stage.profile.stretches + 1):
                    before = server.resident_bytes
                    got = await crowd.turn()
                    costs.append((server.resident_bytes - before) / step)
                    if got["connections"] != number * step:
                        stage.result.invalid(f"{name} closed idle connections")
        point(stage, "idle", name, stage.profile.idle_connections, "bytes a connection", costs, "B")


async def slow_reader(stage: Stage, taking: Servers) -> None:
    """A room under 2 MB/s of traffic for each member, without and with a member that has stopped reading, in turns."""
    name = list(taking)[-1]
    settings = {"CHATSYS_SEND_BUFFER_BYTES": str(_BUDGET), "CHATSYS_STALLED_WITHIN": "1"}
    stage.step(f"a slow reader on {name}")
    tails = defaultdict[int, list[float]](list)
    grown = defaultdict[int, list[float]](list)
    with chat_server(stage.empty(name, "slow"), settings=settings, cpu=processors()[0]) as server:
        async with scene("slow_reader", server, members=_OTHERS, rate=_SLOW_RATE, text=_TEXT) as crowd:
            await _slow_turn(crowd, stuck=False, seconds=_WARM_UP)
            for number, stuck in line(stage, (0, 1), max(_SLOW_ROUNDS, stage.profile.stretches)):
                turn = partial(_slow_turn, crowd, stuck=bool(stuck), seconds=_SLOW_SECONDS)
                got = await believed(stage.result, f"a slow reader on {name}", turn)
                if stuck and not got["disconnected"]:
                    stage.result.limited(_NOT_CUT_OFF)
                keep(stage, "slow reader", "delivery", name, size=stuck, number=number, taken=got["latency_us"])
                tails[stuck].append(float(np.quantile(got["latency_us"], 0.99)))
                grown[stuck].append(got["grown"] / _BUDGET)
    for stuck, values in tails.items():
        point(stage, "slow reader", name, stuck, OTHERS, values, "µs")
    more = [with_it - without for with_it, without in zip(grown[1], grown[0], strict=True)]
    point(stage, "slow reader", name, 1, CUT_OFF, more, "1")


async def _slow_turn(crowd: Scene, *, stuck: bool, seconds: float) -> dict[str, Any]:
    """What it measured, and how many bytes the server had ``grown`` by at most, once the last member was there."""
    await crowd.turn()
    async with highest_memory(crowd.server) as seen:
        got = await crowd.turn(stuck=stuck, seconds=seconds)
    return {**got, "grown": max(seen) - seen[0]}


async def receipts(stage: Stage, taking: Servers) -> None:
    """One message to a room, read by all at once: n receipts and n² updates."""
    for members in _rooms(stage):
        stage.step(f"receipts of {members}")
        seconds, updates = defaultdict[str, list[float]](list), {}
        async with crowds("receipts", taking, members=members) as crowd:
            for _, name in line(stage, list(taking)):
                got = await crowd[name].turn()
                if not got["complete"]:
                    stage.result.invalid(f"receipts of {members} on {name}: updates were missing")
                seconds[name].append(got["seconds"])
                updates[name] = got["updates"]
        for name, values in seconds.items():
            point(stage, "receipts", name, members, "seconds", values, "s")
            point(stage, "receipts", name, members, "updates", [updates[name]], "1")


async def storm(stage: Stage, taking: Servers) -> None:
    """Everybody joins one room within two seconds: a room, and one of half its size, to see what doubling costs."""
    big = min(CROWD, max(stage.profile.members))
    name, server = list(taking.items())[-1]
    for members in (big // 2, big):
        stage.step(f"{members} join on {name}")
        sent, settled = [], []
        async with scene("storm", server, members=members, seconds=_STORM_SECONDS) as crowd:
            for _ in range(_STORMS):
                got = await crowd.turn()
                if got["complete"] != members:
                    stage.result.invalid(f"a storm of joins on {name}: not every list of users was complete")
                sent.append(got["bytes"])
                settled.append(got["settled_seconds"])
        point(stage, "storm", name, members, "bytes sent", sent, "B")
        point(stage, "storm", name, members, "seconds until settled", settled, "s")


async def large_room(stage: Stage, taking: Servers) -> None:
    """Thousands of members: how long until all are in, until all have a message, and until most have gone.

    Meanwhile a client alone in a room of its own sends 50 messages a second and waits for its copies.
    """
    name, server = list(taking.items())[-1]
    members, gone = stage.profile.large_room, stage.profile.large_room * 3 // 5
    stage.step(f"a room of {members} on {name}")
    async with (
        scene("beside", server, room="", others=0, rate=_BESIDE_RATE) as beside,
        scene("large_room", server, members=members, vanishing=gone) as crowd,
    ):

        async def watched(phase: str, **order: float) -> dict[str, Any]:
            """A turn of the crowd; what the client beside it felt goes into the record."""
            turn = asyncio.create_task(crowd.turn(**order))
            taken: list[float] = []
            while not (taken and turn.done()):
                got = await believed(stage.result, f"the client beside a large room, {phase}", beside_once)
                taken += got["latency_us"]
            found = await turn
            number = _PHASES.index(phase)
            keep(stage, "large room", "delivery", name, size=members, number=number, taken=taken)
            point(stage, "large room", name, members, f"p99 beside, {phase}", [float(np.quantile(taken, 0.99))], "µs")
            point(stage, "large room", name, members, f"longest beside, {phase}", [max(taken)], "µs")
            return found

        beside_once = partial(beside.turn, seconds=1)
        await beside.turn(seconds=_WARM_UP)
        got = await watched(_JOINING)
        point(stage, "large room", name, members, "until all are in", [got["seconds"]], "s")
        got = await watched(_SENDING, seconds=stage.profile.flood)
        audit(stage.result, got, f"a room of {members} on {name}")
        point(stage, "large room", name, members, "until all have a message", [got["seconds"] / got["starts"]], "s")
        got = await watched(_LEAVING)
        if got["left"] != members - gone:
            stage.result.invalid(
                f"{got['left']} members of a room of {members} were left on {name}, {gone} having gone"
            )
        point(stage, "large room", name, members, f"until {gone:,} have gone", [got["seconds"]], "s")


def _rooms(stage: Stage) -> list[int]:
    """Sizes at which everybody answers everybody: with twice as many members, eight times as many names are sent."""
    return [number for number in (2, 10, 30, 100, 200) if number <= max(stage.profile.members)]


IDLE = Part("idle", idle, lambda stage: len(stage.stores) + 1, stock=True)
PARTS = (
    Part("slow_reader", slow_reader, lambda _: 1, stock=False),
    Part("receipts", receipts, lambda stage: len(_rooms(stage)), stock=False),
    Part("storm", storm, lambda _: 2, stock=False),
    Part("large_room", large_room, lambda _: 1, stock=False),
)
