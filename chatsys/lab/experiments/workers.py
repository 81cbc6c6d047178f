"""``chatsys serve --workers 1`` and ``--workers 2`` on PostgreSQL, alternating: 64 senders in a closed loop on each."""

from __future__ import annotations

from contextlib import ExitStack

from chatsys.lab.datasets.databases import empty_database
from chatsys.lab.experiments.throughput import closed_loop
from chatsys.lab.runner.environment import Environment, Experiment
from chatsys.lab.subjects.servers import chat_server, start_all

NAME = "workers"
SENDERS = 64
ONE, TWO = "one worker", "two workers"
LIMITATION = (
    "Two workers share this machine's {} processors with PostgreSQL and the load generator. The gain of a second worker"
    " on a machine with more processors was not measured."
)


async def perform(env: Environment) -> None:
    """Measure, and record throughput and latency by number of workers."""
    env.step("one worker and two")
    env.result.limited(LIMITATION.format(env.result.environment["cpus"]))
    env.watch.reasons()
    with ExitStack() as stack:
        starting = [
            chat_server(
                empty_database(env.server_url, f"chatsys_lab_workers_{number}"),
                settings={"CHATSYS_WORKERS": str(number)},
            )
            for number in (1, 2)
        ]
        taking = dict(zip((ONE, TWO), start_all(stack, starting), strict=True))
        await closed_loop(env, taking, NAME, SENDERS)
    env.disturbed()


def _steps(env: Environment) -> int:
    return int("postgresql" in env.stores and "socket" in env.depths and env.wants(NAME))


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
