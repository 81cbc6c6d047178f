"""The durability ladder at store depth: 64 callers that store messages in memory, in PostgreSQL without waiting for the
disk, fully durable by group commit, and fully durable with one commit a message."""

from __future__ import annotations

from contextlib import AsyncExitStack

from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.experiments.playing import point
from chatsys.lab.runner.environment import Experiment, Stage, enter_all
from chatsys.lab.runner.repetitions import Order
from chatsys.lab.workloads.operation import SEND

NAME = "durability"
_CALLERS = 64
_ROWS = 1_000
ALONE = "one commit a message"


async def perform(stage: Stage) -> None:
    """Let the rungs take turns, and write each one's throughput into the record."""
    if list(stage.stores) != ["memory", "postgresql"] or "store" not in stage.depths:
        return
    rows = Synthetic(_ROWS, _ROWS, stage.seed)
    async with AsyncExitStack() as stack:
        rungs = await enter_all(
            stack,
            [
                stage.opened("memory", rows),
                stage.opened("PostgreSQL, commit not waited for", rows, synchronous_commit="off"),
                stage.opened("PostgreSQL, group commit", rows),
                stage.opened(ALONE, rows, kind="asyncpg"),
            ],
        )
        rates: dict[str, list[float]] = {rung.store: [] for rung in rungs}
        for number in range(stage.profile.stretches):
            stage.step(f"durability, round {number + 1}")
            for rung in rungs if number % 2 == 0 else rungs[::-1]:
                callers = 1 if rung.store == ALONE else _CALLERS
                order = Order(
                    operation=SEND, seconds=stage.profile.stretch, least=callers, concurrency=callers, seed=number
                )
                turn = await rung.turn(order)
                rates[rung.store].append(len(turn.nanoseconds) / turn.seconds)
    for name, values in rates.items():
        point(stage, NAME, name, _CALLERS, "messages/s", values, "1/s")


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=lambda stage: stage.profile.stretches, perform=perform)
