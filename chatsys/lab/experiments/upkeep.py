"""What an operator waits for, as ratios to the bare statement that moves or deletes the rows."""

from __future__ import annotations

import asyncio

from chatsys.lab.experiments.playing import point
from chatsys.lab.runner.environment import Experiment, Stage
from chatsys.lab.workloads import upkeep
from chatsys.results.names import ADOPTION, CLEAN_UP, IMPORT

NAME = "upkeep"
FLOOR = "bare statement"
WORK = {IMPORT: upkeep.importing, ADOPTION: upkeep.adoption, CLEAN_UP: upkeep.clean_up}


async def perform(stage: Stage) -> None:
    """Measure each in turns with its floor; seconds and rows a second go into the record."""
    if not _steps(stage):
        return
    rounds, messages = stage.profile.upkeep_rounds, stage.profile.upkeep_messages
    for name, work in WORK.items():
        stage.step(f"upkeep: {name}")
        measured = work(stage.server_url, messages=messages, rounds=rounds)
        turns = await asyncio.to_thread(list, measured)
        point(stage, NAME, name, turns[0].rows, "seconds", [turn.seconds for turn in turns], "s")
        floor = [turn.floor_seconds for turn in turns]
        point(stage, NAME, f"{name}: {FLOOR}", turns[0].rows, "seconds", floor, "s")


def _steps(stage: Stage) -> int:
    return len(WORK) if "postgresql" in stage.stores and stage.wants(NAME) else 0


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
