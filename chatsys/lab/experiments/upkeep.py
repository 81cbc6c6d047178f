"""What an operator waits for, as ratios to the bare statement that moves or deletes the rows."""

from __future__ import annotations

import asyncio

from chatsys.lab.experiments.common import point
from chatsys.lab.runner.environment import Environment, Experiment
from chatsys.lab.workloads import upkeep
from chatsys.results.names import ADOPTION, CLEAN_UP, IMPORT

NAME = "upkeep"
BASELINE = "bare statement"
WORK = {IMPORT: upkeep.importing, ADOPTION: upkeep.adoption, CLEAN_UP: upkeep.clean_up}


async def perform(env: Environment) -> None:
    """Measure each in turns with its baseline; seconds and rows a second go into the record."""
    if not _steps(env):
        return
    rounds, messages = env.profile.upkeep_rounds, env.profile.upkeep_messages
    for name, work in WORK.items():
        env.step(f"upkeep: {name}")
        measured = work(env.server_url, messages=messages, rounds=rounds)
        turns = await asyncio.to_thread(list, measured)
        point(env, NAME, name, turns[0].rows, "seconds", [turn.seconds for turn in turns], "s")
        baseline = [turn.baseline_seconds for turn in turns]
        point(env, NAME, f"{name}: {BASELINE}", turns[0].rows, "seconds", baseline, "s")


def _steps(env: Environment) -> int:
    return len(WORK) if "postgresql" in env.stores and env.wants(NAME) else 0


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
