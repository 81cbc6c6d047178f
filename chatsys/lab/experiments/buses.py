"""One server alone, and two and four servers on one database with NOTIFY, Redis or NATS between them, alternating.

Each arrangement gets the same messages at a fixed rate: in a room with members on several servers ("shared"; with four
servers, the last one has no member), and in a room whose members are all on one server. The experiment measures how
much later a member on another server gets a message than one on the sender's server, and the processor time of a
message on each kind of server. The processor time that a server uses without traffic is subtracted. It is measured
while the other arrangements run in the same round.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import psutil

from chatsys.errors import OperatorError
from chatsys.lab.datasets.databases import empty_database
from chatsys.lab.experiments.common import believed
from chatsys.lab.loadtest.counters import read_metrics
from chatsys.lab.provenance.clock import cpu_nanoseconds
from chatsys.lab.provenance.machine import processors
from chatsys.lab.record import Count
from chatsys.lab.runner.environment import Environment, Experiment, enter_all
from chatsys.lab.runner.scenario import ScenarioClients, scenario_clients
from chatsys.lab.subjects.brokers import BROKERS, RunningBroker, running_broker
from chatsys.lab.subjects.servers import ServerProcess, chat_server, start_all

NAME = "buses"
SIZES = {"buses_of_two": 2, "buses_of_four": 4}
NOTIFY, ALONE = "NOTIFY", "one server"
SHARED, APART = "shared room", "room on one server"
RATE = 200
"""Messages a second, well below what one processor serves."""
HERE, ELSEWHERE, DELAY = "delivery", "delivery elsewhere", "delay between servers"
_TIMED = {HERE: "latency_us", ELSEWHERE: "elsewhere_us", DELAY: "between_us"}
SENDER_CPU, MEMBER_CPU, OTHER_CPU = "CPU of the sender's server", "CPU of a member's server", "CPU without a member"
DATABASE_CPU, BROKER_CPU = "CPU of PostgreSQL", "CPU of the broker"
IDLE_EVENTS = "events to servers without a member"
NOT_RUN = "was not run as a bus"
_ROUNDS = 5  # at least: fewer rounds would give wide intervals
_SECONDS = 2.0  # at most, per repetition
_WARM_UP = 0.2
_POOL = "9"  # connections per server: nineteen servers share one PostgreSQL
_LIMITATION = (
    f"The buses were measured with one sender at {RATE} messages a second. All servers share one processor; PostgreSQL,"
    " the brokers and the load generator share the other. The highest rate of a bus was not measured."
)


class Arrangement(NamedTuple):
    """Servers on one database. The room has members on the first ``places`` of them."""

    bus: str
    places: int
    servers: tuple[ServerProcess, ...]
    broker: RunningBroker | None

    @property
    def subject(self) -> str:
        """Its name in the record."""
        return ALONE if not self.bus else f"{self.bus}, {SHARED if self.places > 1 else APART}"

    @property
    def pids(self) -> set[int]:
        """The ids of the servers' processes and of the broker's."""
        return {server.popen.pid for server in self.servers} | ({self.broker.pid} if self.broker is not None else set())


async def perform(env: Environment) -> None:
    """Measure all arrangements, alternating. Record delays, processor times and lost messages."""
    env.step("buses: starting the servers")
    env.result.limited(_LIMITATION)
    with ExitStack() as stack:
        arrangements = await asyncio.to_thread(lambda: list(_arranged(env, stack)))
        async with AsyncExitStack() as entered:
            ready = await enter_all(
                entered,
                [
                    scenario_clients(
                        "relay", each.servers[0], others=[s.url for s in each.servers[1 : each.places]], rate=RATE
                    )
                    for each in arrangements
                ],
            )
            for clients in ready:
                await clients.repeat(seconds=_WARM_UP)
            env.watch.reasons()
            repetitions = await _repetitions(env, list(zip(arrangements, ready, strict=True)))
            env.disturbed()
    _record(env, arrangements, repetitions)


def _arranged(env: Environment, stack: ExitStack) -> Iterator[Arrangement]:
    """Start every arrangement. If a broker can't start, the record gets the reason."""
    yield Arrangement("", 1, _servers(env, stack, "one", 1), None)
    brokers: dict[str, RunningBroker | None] = {NOTIFY: None}
    for name in BROKERS:
        try:
            brokers[name] = stack.enter_context(running_broker(name, processors()[1]))
        except OperatorError as error:
            env.result.limited(f"{name} {NOT_RUN}: {error.message}")
    for bus, broker in brokers.items():
        for size in _sizes(env):
            servers = _servers(env, stack, f"{bus.lower()}_{size}", size, broker)
            yield Arrangement(bus, 1, servers, broker)
            yield Arrangement(bus, max(2, size - 1), servers, broker)


def _servers(
    env: Environment, stack: ExitStack, name: str, size: int, broker: RunningBroker | None = None
) -> tuple[ServerProcess, ...]:
    url = empty_database(env.server_url, f"chatsys_lab_buses_{name}")
    settings = {"DB_POOL_SIZE": _POOL} | ({} if broker is None else {"CHATSYS_BUS_URL": broker.url})
    starting = [chat_server(url, settings=settings, cpu=processors()[0]) for _ in range(size)]
    return tuple(start_all(stack, starting))


class BusRepetition(NamedTuple):
    """The measurements of an arrangement in a round. ``spent`` are the processor seconds of every watched process."""

    number: int
    arrangement: Arrangement
    got: dict[str, Any]
    spent: dict[int, float]
    seconds: float
    idle_events: float


async def _repetitions(
    env: Environment, subjects: Sequence[tuple[Arrangement, ScenarioClients]]
) -> list[BusRepetition]:
    watched = sorted({pid for each, _ in subjects for pid in each.pids})
    repetitions: list[BusRepetition] = []
    rounds = -1
    for number, (arrangement, clients) in env.line(subjects, _rounds(env)):
        if number != rounds:
            rounds = number
            env.step(f"buses: round {number + 1} of {_rounds(env)}")
        size, subject = len(arrangement.servers), arrangement.subject
        repeat = partial(_repeat, env, arrangement, clients, watched)
        got = await believed(env.result, f"{size} servers, {subject}", repeat)
        repetitions.append(BusRepetition(number, arrangement, got, got["spent"], got["elapsed"], got["idle_events"]))
        for operation, key in _TIMED.items():
            if taken := got[key]:
                env.keep(NAME, operation, subject, size, number, taken)
    return repetitions


async def _repeat(
    env: Environment, arrangement: Arrangement, clients: ScenarioClients, watched: Sequence[int]
) -> dict[str, Any]:
    """The measurements of one repetition, with its costs: ``spent``, ``elapsed`` and ``idle_events``."""
    pids = [*watched, *_database(env)]
    idle = arrangement.servers[arrangement.places :]
    loop = asyncio.get_running_loop()
    events = await asyncio.to_thread(_received, idle)
    began, before = loop.time(), {pid: cpu_nanoseconds([pid]) for pid in pids}
    got = await clients.repeat(seconds=_seconds(env))
    spent = {pid: max(0, cpu_nanoseconds([pid]) - used) / 1e9 for pid, used in before.items()}  # ended ones give 0
    elapsed = loop.time() - began
    events = await asyncio.to_thread(_received, idle) - events
    return {**got, "spent": spent, "elapsed": elapsed, "idle_events": events}


def _received(servers: Sequence[ServerProcess]) -> float:
    """How many events the servers have received over their bus so far."""
    found = (read_metrics(server.url) for server in servers)
    return sum(
        value
        for metrics in found
        for name, value in metrics.items()
        if name.startswith("chatsys_bus_events_total") and "direction=received" in name
    )


def _database(env: Environment) -> list[int]:
    """The ids of PostgreSQL's processes; empty if it is on another machine."""
    if env.watch.postmaster is None:
        return []
    postmaster = psutil.Process(env.watch.postmaster)
    return [postmaster.pid, *(child.pid for child in postmaster.children())]


def _record(env: Environment, arrangements: Sequence[Arrangement], repetitions: Sequence[BusRepetition]) -> None:
    faults = dict.fromkeys(("deliveries", "lost", "doubled", "swapped"), 0.0)
    for arrangement in arrangements:
        own = [each for each in repetitions if each.arrangement is arrangement]
        size, subject = len(arrangement.servers), arrangement.subject
        for metric, values in _figures(own, repetitions).items():
            difference = metric in {OTHER_CPU, BROKER_CPU}
            env.point(NAME, subject, size, metric, values, "µs", difference=difference)
        if arrangement.places < size:
            events = sum(each.idle_events for each in own)
            env.result.counts.append(Count(subject=f"{size} servers, {subject}", metric=IDLE_EVENTS, value=events))
        if arrangement.places == size == 2:
            for each in own:
                faults["deliveries"] += len(each.got["latency_us"]) + len(each.got["elsewhere_us"])
                for fault in ("lost", "doubled", "swapped"):
                    faults[fault] += each.got[fault]
    env.result.counts += [Count(subject="two servers", metric=key, value=value) for key, value in faults.items()]


def _figures(own: Sequence[BusRepetition], repetitions: Sequence[BusRepetition]) -> dict[str, list[float]]:
    """One value per round for each metric, in microseconds. Processor times are per message."""
    figures = defaultdict[str, list[float]](list)
    for this in own:
        for metric, key in _TIMED.items():
            if this.got[key]:
                figures[f"{metric} p50"].append(float(np.median(this.got[key])))
                figures[f"{metric} p99"].append(float(np.quantile(this.got[key], 0.99)))
        arrangement = this.arrangement
        costs = [_cost(this, server.popen.pid, repetitions) for server in arrangement.servers]
        figures[SENDER_CPU].append(costs[0])
        for metric, some in ((MEMBER_CPU, costs[1 : arrangement.places]), (OTHER_CPU, costs[arrangement.places :])):
            if some:
                figures[metric].append(float(np.mean(some)))
        if arrangement.broker is not None:
            figures[BROKER_CPU].append(_cost(this, arrangement.broker.pid, repetitions))
        known = {pid for each in repetitions for pid in each.arrangement.pids}
        if database := [used for pid, used in this.spent.items() if pid not in known]:
            figures[DATABASE_CPU].append(sum(database) * 1e6 / this.got["starts"])
    return figures


def _cost(this: BusRepetition, pid: int, repetitions: Sequence[BusRepetition]) -> float:
    """Processor time of a message on one process in microseconds, minus what it uses while other arrangements run."""
    quiet = [each for each in repetitions if each.number == this.number and pid not in each.arrangement.pids]
    rate = sum(each.spent[pid] for each in quiet) / sum(each.seconds for each in quiet)
    return (this.spent[pid] - rate * this.seconds) * 1e6 / int(this.got["starts"])


def _rounds(env: Environment) -> int:
    return max(_ROUNDS, env.profile.stretches)


def _seconds(env: Environment) -> float:
    return min(_SECONDS, 4 * env.profile.stretch)


def _sizes(env: Environment) -> list[int]:
    return [size for name, size in SIZES.items() if env.wants(name)]


def _steps(env: Environment) -> int:
    possible = "postgresql" in env.stores and "socket" in env.depths
    return 1 + _rounds(env) if possible and _sizes(env) else 0


EXPERIMENT = Experiment(name=NAME, names=tuple(SIZES), steps=_steps, perform=perform)
