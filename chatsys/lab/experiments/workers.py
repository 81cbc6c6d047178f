"""``chatsys serve --workers 1`` and ``--workers 2`` on PostgreSQL, 64 senders in a closed loop in turns before each."""

from __future__ import annotations

from contextlib import ExitStack

from chatsys.lab.datasets.databases import empty_database
from chatsys.lab.experiments.throughput import closed_loop
from chatsys.lab.runner.environment import Experiment, Stage
from chatsys.lab.subjects.servers import chat_server, start_all

NAME = "workers"
SENDERS = 64
ONE, TWO = "one worker", "two workers"
LIMITATION = (
    "Two workers share this machine's {} processors with PostgreSQL and the load generator: what a second worker adds"
    " on a machine with processors to spare is not shown."
)


async def perform(stage: Stage) -> None:
    """Measure; throughput and latency by number of workers go into the record."""
    if not _steps(stage):
        return
    stage.step("one worker and two")
    stage.result.limited(LIMITATION.format(stage.result.environment["cpus"]))
    stage.watch.reasons()
    with ExitStack() as stack:
        starting = [
            chat_server(
                empty_database(stage.server_url, f"chatsys_lab_workers_{number}"),
                settings={"CHATSYS_WORKERS": str(number)},
            )
            for number in (1, 2)
        ]
        taking = dict(zip((ONE, TWO), start_all(stack, starting), strict=True))
        await closed_loop(stage, taking, NAME, SENDERS)
    stage.disturbed()


def _steps(stage: Stage) -> int:
    return int("postgresql" in stage.stores and "socket" in stage.depths and stage.wants(NAME))


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
