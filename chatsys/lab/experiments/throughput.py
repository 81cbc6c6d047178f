"""The capacity of a server: deliveries to rooms of growing size, senders in a closed loop, arrivals in an open one."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import numpy as np

from chatsys.lab.experiments.common import REFERENCE, Servers, believe_latency, believe_rate, believed, clients_of
from chatsys.lab.provenance.machine import processor_seconds
from chatsys.lab.runner.environment import Environment
from chatsys.lab.runner.scenario import scenario_clients
from chatsys.lab.subjects.servers import ServerProcess

OPEN_SENDERS = 64
PUSH_USERS = 2_000
_ROOM = 20  # members
_PUSH_RATE = 100  # messages per second over all rooms: 2,000 deliveries per second
_PUSH_STRETCHES = 3  # a repetition is longer than others, since it sends few messages
SERVER_CPU, DATABASE_CPU, GENERATOR_CPU = "server CPU", "database CPU", "generator CPU"
"""Processor time per message, by process."""
LIMITATION = (
    "The load generator and PostgreSQL share a processor. If the processor times of a message show that the two filled"
    " it, a machine with a processor for each would have stored more messages."
)
SHARES = (0.2, 0.4, 0.6)
"""Loads of the open loop, as shares of the throughput of the same server in the closed loop just before."""


async def fanout(env: Environment, taking: Servers) -> None:
    """Deliveries per second to rooms of growing size, counted at the receivers."""
    for members in env.profile.members:
        env.step(f"fan-out to {members}")
        rates: dict[str, list[float]] = {name: [] for name in taking}
        bounds: set[str] = set()
        async with clients_of("fanout", taking, members=members) as clients:
            for _, name in env.line(taking):
                got = await clients[name].repeat(seconds=env.profile.stretch)
                what = f"fan-out to {members} on {name}"
                if believe_rate(env.result, got, what, baseline=name == REFERENCE):
                    bounds.add(name)
                rates[name].append(got["deliveries"] / got["seconds"])
        for name, values in rates.items():
            env.point("fanout", name, members, "deliveries/s", values, "1/s", lower_bound=name in bounds)


async def senders(env: Environment, taking: Servers) -> None:
    """Throughput, and latency from sending to the sender's own echo, with a growing number of senders."""
    if "postgresql" in taking and env.watch.postmaster is not None:
        env.result.limited(LIMITATION)
    for number in env.profile.senders:
        env.step(f"{number} senders")
        await closed_loop(env, taking, "senders", number)


async def closed_loop(env: Environment, taking: Servers, experiment: str, number: int) -> None:
    """Run ``number`` senders against each server, alternating. Record rates, latencies and processor times.

    The processor time of the database is known only if it runs on this machine.
    """
    figures = defaultdict[tuple[str, str], list[float]](list)
    seconds, repetitions = env.profile.stretch, env.profile.stretches
    postmaster = env.watch.postmaster
    async with clients_of("senders", taking, senders=number, seconds=seconds, repetitions=repetitions) as clients:
        for round_number, (name, server) in env.line(taking.items()):
            before = 0.0 if postmaster is None else processor_seconds(postmaster)
            got = await clients[name].repeat()
            used = {SERVER_CPU: got["server_cpu"] * server.workers}
            if postmaster is not None:
                used[DATABASE_CPU] = processor_seconds(postmaster) - before
            used[GENERATOR_CPU] = got["generator_cpu"]
            believe_latency(env.result, got, f"{number} senders on {name}")
            env.keep(experiment, "echo", name, number, round_number, got["latency_us"])
            figures[name, "messages/s"].append(got["throughput_per_second"])
            figures[name, "p50"].append(float(np.median(got["latency_us"])))
            figures[name, "p99"].append(float(np.quantile(got["latency_us"], 0.99)))
            for who, cpu in used.items():
                figures[name, who].append(cpu * 1e6 / len(got["latency_us"]))
        for name in taking:
            total = await clients[name].repeat()
            if total["stored"] != total["sent"]:
                env.result.invalid(f"{number} senders on {name}: {total['sent']} sent, {total['stored']} stored")
    for (name, metric), values in figures.items():
        env.point(experiment, name, number, metric, values, "1/s" if metric == "messages/s" else "µs")


async def arrivals(env: Environment, taking: Servers) -> None:
    """Response times from the intended start of each message, and service times from its actual start."""
    env.step("arrivals: throughput of a closed loop")
    capacity = {name: await _capacity(env, name, server) for name, server in taking.items()}
    async with clients_of("arrivals", taking, senders=OPEN_SENDERS) as clients:
        for share in SHARES:
            env.step(f"arrivals at {share:.0%}")
            figures = defaultdict[tuple[str, str], list[float]](list)
            for number, name in env.line(taking):
                seed = 1_000 * env.seed + number
                repeat = partial(
                    clients[name].repeat, rate=share * capacity[name], seconds=env.profile.stretch, seed=seed
                )
                got = await believed(env.result, f"arrivals at {share:.0%} on {name}", repeat)
                for kind, taken in (("response", got["latency_us"]), ("service", got["service_us"])):
                    env.keep("arrivals", kind, name, round(100 * share), number, taken)
                    figures[name, f"{kind} p50"].append(float(np.median(taken)))
                    figures[name, f"{kind} p99"].append(float(np.quantile(taken, 0.99)))
                figures[name, "share"].append(share)
            for (name, metric), values in figures.items():
                unit = "1" if metric == "share" else "µs"
                env.point("arrivals", name, share * capacity[name], metric, values, unit)


async def _capacity(env: Environment, name: str, server: ServerProcess) -> float:
    """Messages per second of OPEN_SENDERS in a closed loop, which sets the rates of the open loop."""
    parameters = {"senders": OPEN_SENDERS, "seconds": env.profile.stretch, "repetitions": 1}
    async with scenario_clients("senders", server, **parameters) as clients:
        got = await clients.repeat()
        believe_latency(env.result, got, f"{OPEN_SENDERS} senders on {name}")
        return float(got["throughput_per_second"])


async def push(env: Environment, taking: Servers) -> None:
    """The latency at each recipient while many users in many rooms are connected."""
    members = min(PUSH_USERS, max(env.profile.members))
    env.step(f"a push to {members} users")
    figures = defaultdict[tuple[str, str], list[float]](list)
    async with clients_of("push", taking, members=members, room_size=_ROOM) as clients:
        for number, name in env.line(taking):
            order = {"rate": _PUSH_RATE, "seconds": _PUSH_STRETCHES * env.profile.stretch}
            repeat = partial(clients[name].repeat, seed=1_000 * env.seed + number, **order)
            got = await believed(env.result, f"a push to {members} users on {name}", repeat)
            env.keep("push", "delivery", name, members, number, got["latency_us"])
            figures[name, "p50"].append(float(np.median(got["latency_us"])))
            figures[name, "p99"].append(float(np.quantile(got["latency_us"], 0.99)))
    for (name, metric), values in figures.items():
        env.point("push", name, members, metric, values, "µs")
