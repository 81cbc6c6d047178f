"""What the operations take when the database is on another machine: a proxy holds back what passes to and from it.

The distances take turns, as everything that is compared does. A point's place is the round trip that was measured
through the proxy, not the one that was asked for.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack

import numpy as np

from chatsys.lab import statistics
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.experiments.common import point
from chatsys.lab.network.delay import delayed, round_trip, target_of, through
from chatsys.lab.provenance.machine import processors
from chatsys.lab.runner.environment import Environment, Experiment, enter_all
from chatsys.lab.runner.rounds import Match, closed, interleaved, steps
from chatsys.lab.subjects.subject import subject_process
from chatsys.lab.subjects.worker import Opening
from chatsys.lab.workloads.operation import SEND, TABLE

NAME = "distance"
ADDED = (0.0, 0.0005, 0.001, 0.002)
"""Seconds that are added to a round trip."""
_ROWS = 1_000
_ROUNDS = 4
_CALLERS = 64
_CONCURRENT = f"store x{_CALLERS}"
_TRUE = 0.0002  # seconds by which a delay may miss what was asked for without being named
_HELD = "The distance to the database was measured with {:,} users and messages in the store."
_MISSED = "A delay of {:g} ms that was asked for came to {:.2f} ms; figures stand at what it came to."


async def perform(env: Environment) -> None:
    """Measure, and write a point for each operation and distance into the record."""
    if not _steps(env):
        return
    cpu = processors()
    env.step(f"{NAME}: how long the delays are")
    trips = [round_trip(added / 2, cpu[1]) for added in ADDED]
    for added, trip in zip(ADDED[1:], trips[1:], strict=True):
        if abs(trip - trips[0] - added) > _TRUE:
            env.result.limited(_MISSED.format(1000 * added, 1000 * (trip - trips[0])))
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
        taking = await enter_all(stack, openings)
        env.watch.reasons()
        matches = [Match(taking, closed(env.profile, name, env.seed)) for name in TABLE]
        matches.append(Match(taking, closed(env.profile, SEND, env.seed, _CALLERS), _CONCURRENT))
        try:
            await interleaved(matches, _ROUNDS, env.keep, env.steps_of(NAME), experiment=NAME)
        finally:  # also what an interrupted run has
            for match in matches:
                _record(env, match.order.operation, match.depth, dict(zip(names, trips, strict=True)))
    env.result.limited(_HELD.format(_ROWS))
    env.disturbed()


def _record(env: Environment, operation: str, depth: str, trips: dict[str, float]) -> None:
    subject = operation if depth == "store" else f"{operation} x{_CALLERS}"
    for name, trip in trips.items():
        rounds = env.rounds(NAME, operation, name, depth, _ROWS)
        if rounds:
            tails = [float(np.quantile(taken, 0.99)) for taken in rounds]
            point(env, NAME, subject, trip * 1e6, "p50", statistics.medians(rounds), "µs")
            point(env, NAME, subject, trip * 1e6, "p99", tails, "µs")


def _steps(env: Environment) -> int:
    wanted = "postgresql" in env.stores and "store" in env.depths and env.wants(NAME)
    return 1 + steps(_ROUNDS) if wanted else 0


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
