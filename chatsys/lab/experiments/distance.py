"""How long the operations take when the database is on another machine: a proxy delays everything to and from it.

The distances alternate, like everything that is compared. The x of a point is the round trip measured through the
proxy, not the requested one.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack

import numpy as np

from chatsys.lab import statistics
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.network.delay import delayed, round_trip, target_of, through
from chatsys.lab.provenance.machine import processors
from chatsys.lab.runner.environment import Environment, Experiment, enter_all
from chatsys.lab.runner.rounds import Match, closed, interleaved, steps
from chatsys.lab.subjects.subject import subject_process
from chatsys.lab.subjects.worker import Opening
from chatsys.lab.workloads.operation import SEND, TABLE

NAME = "distance"
ADDED = (0.0, 0.0005, 0.001, 0.002)
"""Seconds added to a round trip."""
_ROWS = 1_000
_ROUNDS = 4
_CALLERS = 64
_CONCURRENT = f"store x{_CALLERS}"
_TOLERANCE = 0.0002  # seconds by which a delay may differ from the requested one without a note
_SIZE_NOTE = "The distance to the database was measured with {:,} users and messages in the store."
_DELAY_NOTE = "A requested delay of {:g} ms was {:.2f} ms in fact; the figures stand at the measured delay."


async def perform(env: Environment) -> None:
    """Measure, and record a point for each operation and distance."""
    cpu = processors()
    env.step(f"{NAME}: measuring the delays")
    trips = [round_trip(added / 2, cpu[1]) for added in ADDED]
    for added, trip in zip(ADDED[1:], trips[1:], strict=True):
        if abs(trip - trips[0] - added) > _TOLERANCE:
            env.result.limited(_DELAY_NOTE.format(1000 * added, 1000 * (trip - trips[0])))
    rows = Synthetic(_ROWS, _ROWS, env.seed)
    url = env.database(rows, NAME)
    names = [f"{1000 * added:g} ms" for added in ADDED]
    async with AsyncExitStack() as stack:
        proxies = stack.enter_context(ExitStack())
        openings = []
        for name, added in zip(names, ADDED, strict=True):
            port = proxies.enter_context(delayed(target_of(url), added / 2, cpu[1]))
            opening = Opening(kind="store", users=_ROWS, messages=_ROWS, seed=env.seed, url=through(url, port),
                              cpu=cpu[0])  # fmt: skip
            openings.append(subject_process(name, opening))
        subjects = await enter_all(stack, openings)
        env.watch.reasons()
        matches = [Match(subjects, closed(env.profile, name, env.seed)) for name in TABLE]
        matches.append(Match(subjects, closed(env.profile, SEND, env.seed, _CALLERS), _CONCURRENT))
        try:
            await interleaved(env, matches, _ROUNDS, NAME)
        finally:  # an interrupted run records what it has
            for match in matches:
                _record(env, match.order.operation, match.depth, dict(zip(names, trips, strict=True)))
    env.result.limited(_SIZE_NOTE.format(_ROWS))
    env.disturbed()


def _record(env: Environment, operation: str, depth: str, trips: dict[str, float]) -> None:
    subject = operation if depth == "store" else f"{operation} x{_CALLERS}"
    for name, trip in trips.items():
        rounds = env.rounds(NAME, operation, name, depth, _ROWS)
        if rounds:
            tails = [float(np.quantile(taken, 0.99)) for taken in rounds]
            env.point(NAME, subject, trip * 1e6, "p50", statistics.medians(rounds), "µs")
            env.point(NAME, subject, trip * 1e6, "p99", tails, "µs")


def _steps(env: Environment) -> int:
    wanted = "postgresql" in env.stores and "store" in env.depths and env.wants(NAME)
    return 1 + steps(_ROUNDS) if wanted else 0


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
