"""Real time: each part and its baseline in the same run. All parts share their servers, because starting a server takes
longer than many of the parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from chatsys.errors import ChatsysError
from chatsys.lab.experiments import fairness, stress, throughput
from chatsys.lab.experiments.common import REFERENCE, Servers, servers
from chatsys.lab.runner.environment import Environment, Experiment

NAME = "realtime"


class RealtimePart(NamedTuple):
    """One of the experiments, which share their servers. ``reference`` says whether the baseline takes part."""

    name: str
    run: Callable[[Environment, Servers], Awaitable[None]]
    steps: Callable[[Environment], int] = lambda _: 1
    reference: bool = False


PARTS = (
    RealtimePart("idle", stress.idle, lambda env: len(env.stores) + 1, reference=True),
    RealtimePart("fanout", throughput.fanout, lambda env: len(env.profile.members), reference=True),
    RealtimePart("senders", throughput.senders, lambda env: len(env.profile.senders)),
    RealtimePart("arrivals", throughput.arrivals, lambda _: 1 + len(throughput.SHARES)),
    RealtimePart("push", throughput.push),
    RealtimePart("fairness", fairness.fairness),
    RealtimePart("fairness_floods", fairness.floods, lambda _: len(fairness.NAMES)),
    RealtimePart("slow_reader", stress.slow_reader),
    RealtimePart("receipts", stress.receipts, lambda env: len(stress.receipt_rooms(env))),
    RealtimePart("storm", stress.storm, lambda _: 2),
    RealtimePart("large_room", stress.large_room),
)
"""Idle connections come first: memory that earlier clients freed in a server would hide their cost."""


def _wanted(env: Environment) -> list[RealtimePart]:
    return [part for part in PARTS if env.wants(part.name)] if "socket" in env.depths else []


async def perform(env: Environment) -> None:
    """Run every requested part, with the reference server if the part has it as its baseline."""
    parts = _wanted(env)
    async with servers(env, reference=any(part.reference for part in parts)) as everyone:
        own = {name: server for name, server in everyone.items() if name != REFERENCE}
        for part in parts:
            env.watch.reasons()
            with env.timed(f"{NAME}: {part.name}"):
                try:
                    await part.run(env, everyone if part.reference else own)
                except ChatsysError as error:  # the next part has its own clients
                    env.result.invalid(f"{part.name}: {error.message}")
            env.disturbed()


EXPERIMENT = Experiment(
    name=NAME,
    names=tuple(part.name for part in PARTS),
    steps=lambda env: sum(part.steps(env) for part in _wanted(env)),
    perform=perform,
)
