"""The durability levels at store depth.

64 callers store messages in memory, in PostgreSQL without waiting for the disk, and fully durable with group commit.
One caller stores them with one commit per message.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.runner.environment import Environment, Experiment, enter_all
from chatsys.lab.runner.repetitions import Order
from chatsys.lab.workloads.operation import SEND

NAME = "durability"
_CALLERS = 64
_ROWS = 1_000
ALONE = "one commit a message"


async def perform(env: Environment) -> None:
    """Measure the levels, alternating, and record the throughput of each."""
    if list(env.stores) != ["memory", "postgresql"] or "store" not in env.depths:
        return
    rows = Synthetic(_ROWS, _ROWS, env.seed)
    async with AsyncExitStack() as stack:
        levels = await enter_all(
            stack,
            [
                env.opened("memory", rows),
                env.opened("PostgreSQL, commit not waited for", rows, synchronous_commit="off"),
                env.opened("PostgreSQL, group commit", rows),
                env.opened(ALONE, rows, kind="asyncpg"),
            ],
        )
        rates: dict[str, list[float]] = {level.store: [] for level in levels}
        for number in range(env.profile.stretches):
            env.step(f"durability, round {number + 1}")
            for level in levels if number % 2 == 0 else levels[::-1]:
                callers = 1 if level.store == ALONE else _CALLERS
                order = Order(
                    operation=SEND, seconds=env.profile.stretch, least=callers, concurrency=callers, seed=number
                )
                done = await level.repeat(order)
                rates[level.store].append(len(done.nanoseconds) / done.seconds)
    for name, values in rates.items():
        env.point(NAME, name, _CALLERS, "messages/s", values, "1/s")


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=lambda env: env.profile.stretches, perform=perform)
