"""How much a server takes: deliveries to rooms of growing size, senders in a closed loop, arrivals in an open one."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import numpy as np

from chatsys.lab.experiments.playing import (
    STOCK,
    Part,
    Servers,
    believe_latency,
    believe_rate,
    believed,
    crowds,
    keep,
    line,
    point,
)
from chatsys.lab.provenance.machine import processor_seconds
from chatsys.lab.runner.environment import Stage
from chatsys.lab.runner.scenario import scene
from chatsys.lab.subjects.servers import ServerProcess

OPEN_SENDERS = 64
PUSH_USERS = 2_000
_ROOM = 20  # members
_PUSH_RATE = 100  # messages a second over all rooms: 2,000 deliveries a second
_PUSH_STRETCHES = 3  # a turn lasts longer than others, since few messages are sent
SERVER_CPU, DATABASE_CPU, GENERATOR_CPU = "server CPU", "database CPU", "generator CPU"
"""Processor time of a message, by who used it."""
LIMITATION = (
    "The load generator uses the processor that PostgreSQL runs on: where the processor times of a message say that the"
    " two filled it, a machine with one for each would have stored more."
)
SHARES = (0.2, 0.4, 0.6)
"""Loads of the open loop, as shares of what the same server took in the closed loop just before."""


async def fanout(stage: Stage, taking: Servers) -> None:
    """Deliveries a second to rooms of growing size, counted at the receivers."""
    for members in stage.profile.members:
        stage.step(f"fan-out to {members}")
        rates: dict[str, list[float]] = {name: [] for name in taking}
        bounds: set[str] = set()
        async with crowds("fanout", taking, members=members) as crowd:
            for _, name in line(stage, list(taking)):
                got = await crowd[name].turn(seconds=stage.profile.stretch)
                what = f"fan-out to {members} on {name}"
                if believe_rate(stage.result, got, what, baseline=name == STOCK):
                    bounds.add(name)
                rates[name].append(got["deliveries"] / got["seconds"])
        for name, values in rates.items():
            point(stage, "fanout", name, members, "deliveries/s", values, "1/s", lower_bound=name in bounds)


async def senders(stage: Stage, taking: Servers) -> None:
    """Throughput and latency, from sending to the sender's own echo, with a growing number of senders."""
    if "postgresql" in taking and stage.watch.postmaster is not None:
        stage.result.limited(LIMITATION)
    for number in stage.profile.senders:
        stage.step(f"{number} senders")
        await closed_loop(stage, taking, "senders", number)


async def closed_loop(stage: Stage, taking: Servers, experiment: str, number: int) -> None:
    """Let ``number`` senders take turns before each server; rates, latencies and processor times go into the record.

    What the database uses is known where its processes are this machine's.
    """
    figures = defaultdict[tuple[str, str], list[float]](list)
    seconds, turns = stage.profile.stretch, stage.profile.stretches
    postmaster = stage.watch.postmaster
    async with crowds("senders", taking, senders=number, seconds=seconds, turns=turns) as crowd:
        for turn, (name, server) in line(stage, list(taking.items())):
            before = 0.0 if postmaster is None else processor_seconds(postmaster)
            got = await crowd[name].turn()
            used = {SERVER_CPU: got["server_cpu"] * server.workers}
            if postmaster is not None:
                used[DATABASE_CPU] = processor_seconds(postmaster) - before
            used[GENERATOR_CPU] = got["generator_cpu"]
            believe_latency(stage.result, got, f"{number} senders on {name}")
            keep(stage, experiment, "echo", name, size=number, number=turn, taken=got["latency_us"])
            figures[name, "messages/s"].append(got["throughput_per_second"])
            figures[name, "p50"].append(float(np.median(got["latency_us"])))
            figures[name, "p99"].append(float(np.quantile(got["latency_us"], 0.99)))
            for who, cpu in used.items():
                figures[name, who].append(cpu * 1e6 / len(got["latency_us"]))
        for name in taking:
            total = await crowd[name].turn()
            if total["stored"] != total["sent"]:
                stage.result.invalid(f"{number} senders on {name}: {total['sent']} sent, {total['stored']} stored")
    for (name, metric), values in figures.items():
        point(stage, experiment, name, number, metric, values, "1/s" if metric == "messages/s" else "µs")


async def arrivals(stage: Stage, taking: Servers) -> None:
    """Response times of messages that leave when they are meant to, and the service times of the same messages."""
    stage.step("arrivals: what a closed loop takes")
    capacity = {name: await _capacity(stage, name, server) for name, server in taking.items()}
    async with crowds("arrivals", taking, senders=OPEN_SENDERS) as crowd:
        for share in SHARES:
            stage.step(f"arrivals at {share:.0%}")
            figures = defaultdict[tuple[str, str], list[float]](list)
            for number, name in line(stage, list(taking)):
                seed = 1_000 * stage.seed + number
                turn = partial(crowd[name].turn, rate=share * capacity[name], seconds=stage.profile.stretch, seed=seed)
                got = await believed(stage.result, f"arrivals at {share:.0%} on {name}", turn)
                for kind, taken in (("response", got["latency_us"]), ("service", got["service_us"])):
                    keep(stage, "arrivals", kind, name, size=round(100 * share), number=number, taken=taken)
                    figures[name, f"{kind} p50"].append(float(np.median(taken)))
                    figures[name, f"{kind} p99"].append(float(np.quantile(taken, 0.99)))
                figures[name, "share"].append(share)
            for (name, metric), values in figures.items():
                unit = "1" if metric == "share" else "µs"
                point(stage, "arrivals", name, share * capacity[name], metric, values, unit)


async def _capacity(stage: Stage, name: str, server: ServerProcess) -> float:
    """Messages a second of as many senders in a closed loop: one turn, to size the open one."""
    parameters = {"senders": OPEN_SENDERS, "seconds": stage.profile.stretch, "turns": 1}
    async with scene("senders", server, **parameters) as crowd:
        got = await crowd.turn()
        believe_latency(stage.result, got, f"{OPEN_SENDERS} senders on {name}")
        return float(got["throughput_per_second"])


async def push(stage: Stage, taking: Servers) -> None:
    """How long a message takes to each recipient while many users are connected, each room at its own pace."""
    members = min(PUSH_USERS, max(stage.profile.members))
    stage.step(f"a push to {members} users")
    medians, tails = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    async with crowds("push", taking, members=members, room_size=_ROOM) as crowd:
        for number, name in line(stage, list(taking)):
            order = {"rate": _PUSH_RATE, "seconds": _PUSH_STRETCHES * stage.profile.stretch}
            turn = partial(crowd[name].turn, seed=1_000 * stage.seed + number, **order)
            got = await believed(stage.result, f"a push to {members} users on {name}", turn)
            keep(stage, "push", "delivery", name, size=members, number=number, taken=got["latency_us"])
            medians[name].append(float(np.median(got["latency_us"])))
            tails[name].append(float(np.quantile(got["latency_us"], 0.99)))
    for name in taking:
        point(stage, "push", name, members, "p50", medians[name], "µs")
        point(stage, "push", name, members, "p99", tails[name], "µs")


PARTS = (
    Part("fanout", fanout, lambda stage: len(stage.profile.members), stock=True),
    Part("senders", senders, lambda stage: len(stage.profile.senders), stock=False),
    Part("arrivals", arrivals, lambda _: 1 + len(SHARES), stock=False),
    Part("push", push, lambda _: 1, stock=False),
)
