"""Real time: each part and its baseline in the same run. All parts share their servers, because starting a server takes
longer than many of the parts."""

from __future__ import annotations

from chatsys.errors import ChatsysError
from chatsys.lab.experiments import fairness, stress, throughput
from chatsys.lab.experiments.common import REFERENCE, RealtimePart, servers
from chatsys.lab.runner.environment import Environment, Experiment

NAME = "realtime"
PARTS = (stress.IDLE, *throughput.PARTS, *fairness.PARTS, *stress.PARTS)
"""Idle connections come first: memory that earlier clients freed in a server would hide their cost."""


def _wanted(env: Environment) -> list[RealtimePart]:
    return [part for part in PARTS if env.wants(part.name)] if "socket" in env.depths else []


async def perform(env: Environment) -> None:
    """Run every requested part, with the reference server if the part has it as its baseline."""
    parts = _wanted(env)
    if not parts:
        return
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
