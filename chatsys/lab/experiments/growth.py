"""How reads slow down as the data grows, and how many bytes a user and a message take.

Each size n has n users and n messages, and is ten times the last one. The stores of all sizes are open at once and
alternate, so that a drift of the machine affects every size.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from chatsys.database.connecting import connected
from chatsys.lab import statistics
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.experiments.plans import plans
from chatsys.lab.record import Fit
from chatsys.lab.runner.environment import Environment, Experiment, enter_all
from chatsys.lab.runner.rounds import Match, closed, interleaved, steps
from chatsys.lab.subjects.subject import SubjectProcess
from chatsys.lab.workloads.operation import FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH

NAME = "growth"
GROWING = (FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH)
_FEWEST = 3  # sizes that a fit with an interval needs


async def perform(env: Environment) -> None:
    """Measure all sizes, and record curves, exponents, bytes and plans."""
    profile = env.profile
    async with AsyncExitStack() as stack:
        subjects: list[SubjectProcess] = []
        for size in profile.growth:
            rows = Synthetic(size, size, env.seed)
            env.step(f"growth: filling {size:,}")
            pair = await enter_all(stack, [env.opened(store, rows) for store in env.stores])
            for taken in pair:
                _record_bytes(env, taken, rows)
            subjects += pair
            if "postgresql" in env.stores:
                env.result.plans += await asyncio.to_thread(plans, env.database(rows), rows)
        env.watch.reasons()
        orders = [closed(profile, name, env.seed, seconds=profile.growth_repetition) for name in GROWING]
        matches = [Match(subjects, order) for order in orders]
        try:
            await interleaved(env, matches, profile.growth_rounds, NAME)
        finally:  # an interrupted run records what it has
            for store in env.stores:
                for name in GROWING:
                    _record_curve(env, store, name)
    env.disturbed()


def _record_curve(env: Environment, store: str, name: str) -> None:
    medians: list[tuple[float, float]] = []
    sizes = env.profile.growth
    for size in sizes:
        rounds = env.rounds(NAME, name, store, "store", size)
        if not rounds:
            return
        medians += [(size, median) for median in statistics.medians(rounds)]
        env.quantiles(f"{NAME}: {name}", store, size, rounds)
    if len(sizes) >= _FEWEST:
        found = statistics.slope(*zip(*medians, strict=True))
        fit = Fit(operation=name, store=store, exponent=found.exponent, interval=found.interval, sizes=sizes)
        env.result.fits.append(fit)


def _record_bytes(env: Environment, taken: SubjectProcess, rows: Synthetic) -> None:
    """Bytes per user and per message with receipts: in resident memory, or in tables and indexes on disk."""
    if taken.store == "memory":
        users, messages = taken.opened.user_bytes, taken.opened.message_bytes
    else:
        users, messages = _sizes_on_disk(env.database(rows))
    for metric, total in (("bytes per user", users), ("bytes per message", messages)):
        env.figure("bytes", taken.store, taken.size, metric, total / taken.size, "B")


def _sizes_on_disk(url: str) -> tuple[int, int]:
    with connected(url) as connection:
        row = connection.execute(
            "SELECT pg_total_relation_size('users'), pg_total_relation_size('messages')"
            " + pg_total_relation_size('message_reads') + pg_total_relation_size('message_deliveries')"
        ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


EXPERIMENT = Experiment(
    name=NAME,
    names=(NAME,),
    steps=lambda env: len(env.profile.growth) + steps(env.profile.growth_rounds),
    perform=perform,
)
