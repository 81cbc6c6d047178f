"""What the real-time experiments share: servers, clients, and the rule for valid measurements.

The rule was fixed before any run. No message may be lost, doubled or swapped. A load generator is saturated if it used
more than 90 % of its processor while no worker of the server used 90 % of its own: then it limits the figure. Where
latency counts (fixed rates, and the closed loop of senders), the run is INVALID if the generator was saturated or
missed more than 1 % of its intended starts (and more than one): it would have measured itself. A repetition at a fixed
rate may be retried once. In fan-out only the rate counts, and a saturated generator gives a lower bound. On our side of
a ratio the bound understates the server, and the report says so. On the baseline's side it would favour chatsys, so the
run is INVALID.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

from chatsys.lab.provenance.machine import generator_reasons, processors, saturated
from chatsys.lab.record import Result
from chatsys.lab.runner.environment import Environment, enter_all
from chatsys.lab.runner.scenario import ScenarioClients, scenario_clients
from chatsys.lab.subjects.servers import ServerProcess, chat_server, reference_server, start_all

REFERENCE = "stock python-socketio"
BIG_ROOM = 500
"""Members of a big room, if the profile has rooms of this size."""

_MEMORY_EVERY = 0.05  # seconds between two readings of a server's memory

Servers = Mapping[str, ServerProcess]


@asynccontextmanager
async def servers(env: Environment, *, reference: bool) -> AsyncIterator[Servers]:
    """One server for each requested store, and the reference server if ``reference``."""
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
    """The same clients for each server, all of them ready."""
    async with AsyncExitStack() as stack:
        ready = await enter_all(stack, [scenario_clients(name, server, **parameters) for server in taking.values()])
        yield dict(zip(taking, ready, strict=True))


@asynccontextmanager
async def highest_memory(server: ServerProcess) -> AsyncIterator[list[int]]:
    """The server's resident bytes at the start of the block, followed by samples taken during the block."""
    samples = [server.resident_bytes]

    async def sample() -> None:
        while True:
            await asyncio.sleep(_MEMORY_EVERY)
            samples.append(server.resident_bytes)

    sampling = asyncio.create_task(sample())
    try:
        yield samples
    finally:
        sampling.cancel()


def believe_rate(result: Result, got: Mapping[str, Any], what: str, *, baseline: bool) -> bool:
    """Audit a repetition whose rate counts. Returns whether the rate is only a lower bound for the server."""
    audit(result, got, what)
    bound = saturated(got)
    if bound and baseline:
        result.invalid(f"the load generator of {what}, a baseline, was saturated")
    elif bound:
        result.limited(f"The load generator of {what} was saturated: the server could have done more.")
    return bound


def believe_latency(result: Result, got: Mapping[str, Any], what: str) -> None:
    """Audit a repetition whose latencies count, and mark the run as invalid if they are not the server's."""
    audit(result, got, what)
    for reason in generator_reasons(got, what):
        result.invalid(reason)


async def believed(result: Result, what: str, repeat: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Perform a repetition with intended starts whose latencies count.

    If the generator fell behind (for example because the machine stopped it for a moment), the repetition says nothing
    about the server. It is repeated once, and the report says so. The second one is judged as any other; both are
    audited.
    """
    got = await repeat()
    if generator_reasons(got, what):
        audit(result, got, what)
        result.limited(f"The load generator of {what} fell behind, so that repetition was repeated once.")
        got = await repeat()
    believe_latency(result, got, what)
    return got


def audit(result: Result, got: Mapping[str, Any], what: str) -> None:
    """Mark the run as invalid if a message was lost, doubled or swapped."""
    for fault in ("lost", "doubled", "swapped"):
        if got.get(fault):
            result.invalid(f"{what}: {got[fault]} messages {fault}")
