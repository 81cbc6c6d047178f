"""Real time: each part beside its baseline in the same run, against servers that all parts share, since starting those
takes longer than many of them."""

from __future__ import annotations

from chatsys.errors import ChatsysError
from chatsys.lab.experiments import fairness, strain, throughput
from chatsys.lab.experiments.playing import STOCK, Part, servers
from chatsys.lab.runner.environment import Experiment, Stage

NAME = "realtime"
PARTS = (strain.IDLE, *throughput.PARTS, *fairness.PARTS, *strain.PARTS)
"""Idle connections come first: memory that an earlier crowd has given back to its server would hide what they cost."""


def _wanted(stage: Stage) -> list[Part]:
    return [part for part in PARTS if stage.wants(part.name)] if "socket" in stage.depths else []


async def perform(stage: Stage) -> None:
    """Play every part that is wanted; the baseline takes part where there is one."""
    parts = _wanted(stage)
    if not parts:
        return
    async with servers(stage, stock=any(part.stock for part in parts)) as everyone:
        own = {name: server for name, server in everyone.items() if name != STOCK}
        for part in parts:
            stage.watch.reasons()
            with stage.timed(f"{NAME}: {part.name}"):
                try:
                    await part.play(stage, everyone if part.stock else own)
                except ChatsysError as error:  # the other parts have their own crowds
                    stage.result.invalid(f"{part.name}: {error.message}")
            stage.disturbed()


EXPERIMENT = Experiment(
    name=NAME,
    names=tuple(part.name for part in PARTS),
    steps=lambda stage: sum(part.steps(stage) for part in _wanted(stage)),
    perform=perform,
)
