"""The guide's table at store depth: every operation on both stores and its baselines, with 1 and with 64 callers."""

from __future__ import annotations

from contextlib import AsyncExitStack

import msgspec

from chatsys.lab import statistics
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.provenance.machine import processors
from chatsys.lab.record import Baseline, OperationResult, Ratio
from chatsys.lab.runner.environment import Environment, Experiment, enter_all
from chatsys.lab.runner.rounds import Match, Repeatable, closed, interleaved, steps
from chatsys.lab.subjects import pgbench
from chatsys.lab.workloads.operation import NOOP, SEARCH, TABLE

NAME = "table"
BASELINES = {"postgresql": ("asyncpg", "asyncpg"), "memory": ("python", "python")}
"""For each store the name and the kind of its baseline."""
CALLERS = 64
DEPTH, CONCURRENT = "store", f"store x{CALLERS}"


def _operations(env: Environment) -> list[str]:
    return [name for name in (NOOP, *TABLE) if env.wants(name)]


def _concurrent(env: Environment) -> list[str]:
    """The operations with 64 callers. Searches are left out: 64 scans of all users take as long as 64 in sequence."""
    return [name for name in _operations(env) if name not in (NOOP, SEARCH)]


async def perform(env: Environment) -> None:
    """Measure, and record operations, ratios and baselines."""
    rows, profile = env.rows, env.profile
    async with AsyncExitStack() as stack:
        env.tell("filling the stores", False)
        openings = [env.opened(store, rows) for store in env.stores]
        openings += [env.opened(name, rows, kind=kind) for name, kind in map(BASELINES.__getitem__, env.stores)]
        with env.timed("table: rows loaded and stores filled"):
            everyone = await enter_all(stack, openings)
        subjects, baselines = everyone[: len(env.stores)], everyone[len(env.stores) :]
        env.watch.reasons()
        matches = []
        for name in _operations(env):
            compared: list[Repeatable] = [*subjects, *baselines]
            if "postgresql" in env.stores and name in pgbench.OPERATIONS:
                compared.append(pgbench.Pgbench(env.database(rows), rows, processors()[0]))
            matches.append(Match(compared, closed(profile, name, env.seed), DEPTH))
        for name in _concurrent(env):
            matches.append(Match(subjects, closed(profile, name, env.seed, CALLERS), CONCURRENT))
        try:
            await interleaved(env, matches, profile.rounds, NAME)
        finally:  # an interrupted run records what it has
            for match in matches:
                _record(env, match.order.operation, match.depth)
    env.disturbed()


def _record(env: Environment, name: str, depth: str) -> None:
    record_operation(env, name, depth, env.profile.users, env.rows)
    if depth == DEPTH:
        _record_baselines(env, name)


def record_operation(env: Environment, name: str, depth: str, size: int, rows: Synthetic) -> None:
    """Record the figures of both stores for an operation at a depth, and their ratio, if there is at least one round.

    ``size`` selects the samples; ``rows`` are the rows that the stores held.
    """
    taken = {store: env.rounds(NAME, name, store, depth, size) for store in env.stores}
    if not all(taken.values()):
        return
    for store, rounds in taken.items():
        figures = msgspec.structs.asdict(statistics.summary(rounds, env.seed))
        env.result.operations.append(
            OperationResult(
                operation=name, store=store, depth=depth, users=rows.users, messages=rows.messages, **figures
            )
        )
    if len(taken) == 2 and name != NOOP:
        postgresql, memory = taken["postgresql"], taken["memory"]
        value, interval = statistics.ratio(postgresql, memory, env.seed)
        verdict, p = statistics.compare(statistics.pooled(postgresql), statistics.pooled(memory))
        env.result.ratios.append(
            Ratio(operation=name, depth=depth, ratio=value, interval=interval, verdict=verdict, p=p)
        )


def _record_baselines(env: Environment, name: str) -> None:
    if name == NOOP:
        return
    baselines = [(store, *BASELINES[store]) for store in env.stores]
    if "postgresql" in env.stores and name in pgbench.OPERATIONS:
        baselines.append(("postgresql", pgbench.NAME, pgbench.NAME))
    for store, baseline, kind in baselines:
        taken, below = (env.rounds(NAME, name, who, DEPTH, env.profile.users) for who in (store, baseline))
        if not below:
            return
        record_baseline(env, name, store, kind, taken, below)


def record_baseline(  # noqa: PLR0917 - its name and the samples of both sides
    env: Environment, name: str, store: str, kind: str, taken: statistics.Rounds, below: statistics.Rounds
) -> None:
    """Record how much longer an operation takes on a store (``taken``) than on a baseline (``below``)."""
    value, interval = statistics.ratio(taken, below, env.seed)
    p50 = statistics.summary(below, env.seed).p50_us
    env.result.baselines.append(
        Baseline(operation=name, store=store, kind=kind, p50_us=p50, ratio=value, interval=interval)
    )


EXPERIMENT = Experiment(
    name=NAME,
    names=(NAME, NOOP, *TABLE),
    steps=lambda env: steps(env.profile.rounds) if _operations(env) else 0,
    perform=perform,
)
