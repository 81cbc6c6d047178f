"""Real time: each part beside its baseline in the same run, against servers that all parts share, since starting those
takes longer than many of them."""

from __future__ import annotations

from chatsys.errors import ChatsysError
from chatsys.lab.experiments import fairness, stress, throughput
from chatsys.lab.experiments.common import REFERENCE, RealtimePart, servers
from chatsys.lab.runner.environment import Environment, Experiment

NAME = "realtime"
PARTS = (stress.IDLE, *throughput.PARTS, *fairness.PARTS, *stress.PARTS)
"""Idle connections come first: memory that earlier clients have given back to its server would hide what they cost."""


def _wanted(env: Environment) -> list[RealtimePart]:
    return [part for part in PARTS if env.wants(part.name)] if "socket" in env.depths else []


async def perform(env: Environment) -> None:
    """Run every part that is wanted; the reference server takes part where there is one."""
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
                except ChatsysError as error:  # the other parts have their own clients
                    env.result.invalid(f"{part.name}: {error.message}")
            env.disturbed()


EXPERIMENT = Experiment(
    name=NAME,
    names=tuple(part.name for part in PARTS),
    steps=lambda env: sum(part.steps(env) for part in _wanted(env)),
    perform=perform,
)
