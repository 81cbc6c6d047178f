"""What the experiments of real time share: their servers, their turns, and the rule by which a turn is believed.

The rule was written before the run. Nothing may be lost, doubled or swapped. A load generator is saturated where it
bounds the figure: it used more than 90 % of its processor while no worker of the server used 90 % of its own. Where
latency counts (fixed rates, and the closed loop of senders), a saturated generator, or one that missed more than 1 %
of the starts that it intended (and more than one), makes the run INVALID: it would have measured itself. A turn at a
fixed rate may be taken once more before that. In fan-out nothing but the rate counts. There a saturated generator
gives a lower bound of what the server can do: on our side of the ratio that understates the server, which is said
beside the figure; on the baseline's side it would flatter ours, and makes the run INVALID.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np

from chatsys.lab.provenance.machine import generator_reasons, processors, saturated
from chatsys.lab.record import Point, Result, Sampled
from chatsys.lab.runner.environment import Environment, enter_all
from chatsys.lab.runner.scenario import ScenarioClients, scenario_clients
from chatsys.lab.statistics import of_rounds
from chatsys.lab.subjects.servers import ServerProcess, chat_server, reference_server, start_all

REFERENCE = "stock python-socketio"
BIG_ROOM = 500
"""Members of a big room, where the profile has rooms as big."""

_MEMORY_EVERY = 0.05  # seconds between two looks at a server's memory

T = TypeVar("T")
Servers = Mapping[str, ServerProcess]
Perform = Callable[[Environment, Servers], Awaitable[None]]


class RealtimePart(NamedTuple):
    """One of the experiments: they share their servers. ``reference``: the baseline takes part."""

    name: str
    run: Perform
    steps: Callable[[Environment], int]
    reference: bool


@asynccontextmanager
async def servers(env: Environment, *, reference: bool) -> AsyncIterator[Servers]:
    """One server for each store that is wanted, and the reference server."""
    cpu = processors()[0]
    starting: dict[str, AbstractContextManager[ServerProcess]] = {}
    for store in env.stores:
        starting[store] = chat_server(env.empty(store, "realtime"), cpu=cpu)
    if reference:
        starting[REFERENCE] = reference_server(cpu=cpu)
    with ExitStack() as stack:
        yield dict(zip(starting, start_all(stack, list(starting.values())), strict=True))


@asynccontextmanager
async def clients_of(name: str, taking: Servers, **parameters: object) -> AsyncIterator[dict[str, ScenarioClients]]:
    """The same clients before each server, all of them ready."""
    async with AsyncExitStack() as stack:
        ready = await enter_all(stack, [scenario_clients(name, server, **parameters) for server in taking.values()])
        yield dict(zip(taking, ready, strict=True))


@asynccontextmanager
async def highest_memory(server: ServerProcess) -> AsyncIterator[list[int]]:
    """Afterwards the server's resident bytes as they were at the start of the block and time and again within it."""
    seen = [server.resident_bytes]

    async def look() -> None:
        while True:
            await asyncio.sleep(_MEMORY_EVERY)
            seen.append(server.resident_bytes)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()


def line(env: Environment, subjects: Sequence[T], rounds: int | None = None) -> list[tuple[int, T]]:
    """Who takes a turn in which round: A B C, C B A, …; as many rounds as the profile's stretches, or ``rounds``."""
    return [
        (number, subject)
        for number in range(rounds or env.profile.stretches)
        for subject in (subjects if number % 2 == 0 else subjects[::-1])
    ]


def believe_rate(result: Result, got: Mapping[str, Any], what: str, *, baseline: bool) -> bool:
    """Audit a turn whose rate counts; whether the rate is only a lower bound of what the server can do."""
    audit(result, got, what)
    bound = saturated(got)
    if bound and baseline:
        result.invalid(f"the load generator of {what} was saturated, and that is a baseline")
    elif bound:
        result.limited(f"The load generator of {what} was saturated: the server could have done more.")
    return bound


def believe_latency(result: Result, got: Mapping[str, Any], what: str) -> None:
    """Audit a turn whose latencies count."""
    audit(result, got, what)
    for reason in generator_reasons(got, what):
        result.invalid(reason)


async def believed(result: Result, what: str, turn: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """A turn with intended starts whose latencies count.

    When the generator could not be believed (the machine stopped it for a moment, say), the turn says nothing of the
    server, whatever its latencies were: it is taken once more, which the report says. The second one is audited and
    judged as any other; of the first one the audit counts.
    """
    got = await turn()
    if generator_reasons(got, what):
        audit(result, got, what)
        result.limited(f"The load generator of {what} could not be believed at first: that turn was taken once more.")
        got = await turn()
    believe_latency(result, got, what)
    return got


def audit(result: Result, got: Mapping[str, Any], what: str) -> None:
    """A message lost, doubled or swapped makes the run invalid, whatever its speed."""
    for fault in ("lost", "doubled", "swapped"):
        if got.get(fault):
            result.invalid(f"{what}: {got[fault]} messages {fault}")


def point(  # noqa: PLR0917 - one figure of a curve
    env: Environment,
    experiment: str,
    subject: str,
    x: float,
    metric: str,
    values: Sequence[float],
    unit: str,
    *,
    lower_bound: bool = False,
    difference: bool = False,
) -> None:
    """Write one figure, measured once a round, into the record; a ``difference`` may be negative."""
    value, interval = of_rounds(values, geometric=not difference)
    env.result.points.append(
        Point(
            experiment=experiment,
            subject=subject,
            x=x,
            metric=metric,
            value=value,
            unit=unit,
            interval=interval,
            n=len(values),
            rounds=tuple(values),
            lower_bound=lower_bound,
        )
    )


def keep(
    env: Environment, experiment: str, operation: str, subject: str, *, size: int, number: int, taken: Any
) -> None:
    """Keep the raw latencies of a turn."""
    env.keep(
        Sampled(
            experiment=experiment,
            operation=operation,
            contestant=subject,
            depth="socket",
            size=size,
            round=number,
            microseconds=np.array(taken),
        )
    )
