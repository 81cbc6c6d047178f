"""Commands that an operator waits for, as ratios to the bare statements that move or delete the same rows."""

from __future__ import annotations

import asyncio

from chatsys.lab.runner.environment import Environment, Experiment
from chatsys.lab.workloads import upkeep
from chatsys.results.names import ADOPTION, CLEAN_UP, IMPORT

NAME = "upkeep"
BASELINE = "bare statement"
WORK = {IMPORT: upkeep.importing, ADOPTION: upkeep.adoption, CLEAN_UP: upkeep.clean_up}


async def perform(env: Environment) -> None:
    """Measure each command and its baseline, alternating. Record the seconds of both."""
    rounds, messages = env.profile.upkeep_rounds, env.profile.upkeep_messages
    for name, work in WORK.items():
        env.step(f"upkeep: {name}")
        done = await asyncio.to_thread(list, work(env.server_url, messages=messages, rounds=rounds))
        env.point(NAME, name, done[0].rows, "seconds", [each.seconds for each in done], "s")
        baseline = [each.baseline_seconds for each in done]
        env.point(NAME, f"{name}: {BASELINE}", done[0].rows, "seconds", baseline, "s")


def _steps(env: Environment) -> int:
    return len(WORK) if "postgresql" in env.stores and env.wants(NAME) else 0


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
