"""The guide's table at store depth: every operation on both stores, alone and 64 at a time, beside its floors."""

from __future__ import annotations

from contextlib import AsyncExitStack

from chatsys.lab import statistics
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.provenance.machine import processors
from chatsys.lab.record import Floor, Operation, Ratio
from chatsys.lab.runner.environment import Experiment, Stage, enter_all
from chatsys.lab.runner.rounds import Match, TakesTurns, closed, interleaved, steps
from chatsys.lab.subjects import pgbench
from chatsys.lab.workloads.operation import NOOP, SEARCH, TABLE

NAME = "table"
FLOORS = {"postgresql": ("asyncpg", "asyncpg"), "memory": ("python", "python")}
"""For each store the contestant that is its floor, and that one's kind."""
CROWD = 64
DEPTH, CROWDED = "store", f"store x{CROWD}"


def _operations(stage: Stage) -> list[str]:
    return [name for name in (NOOP, *TABLE) if stage.wants(name)]


def _crowded(stage: Stage) -> list[str]:
    """Without searching: 64 scans of all users take as long as 64 scans, one after another."""
    return [name for name in _operations(stage) if name not in (NOOP, SEARCH)]


async def perform(stage: Stage) -> None:
    """Measure, and write operations, ratios and floors into the record."""
    rows, profile = stage.rows, stage.profile
    async with AsyncExitStack() as stack:
        stage.tell("filling the stores", False)
        openings = [stage.opened(store, rows) for store in stage.stores]
        openings += [stage.opened(name, rows, kind=kind) for name, kind in map(FLOORS.__getitem__, stage.stores)]
        with stage.timed("table: rows loaded and stores filled"):
            everyone = await enter_all(stack, openings)
        subjects, floors = everyone[: len(stage.stores)], everyone[len(stage.stores) :]
        stage.watch.reasons()
        matches = []
        for name in _operations(stage):
            taking: list[TakesTurns] = [*subjects, *floors]
            if "postgresql" in stage.stores and name in pgbench.OPERATIONS:
                taking.append(pgbench.Pgbench(stage.database(rows), rows, processors()[0]))
            matches.append(Match(taking, closed(profile, name, stage.seed), DEPTH))
        for name in _crowded(stage):
            matches.append(Match(subjects, closed(profile, name, stage.seed, CROWD), CROWDED))
        try:
            await interleaved(matches, profile.rounds, stage.keep, stage.steps_of(NAME), experiment=NAME)
        finally:  # also what an interrupted run has
            for match in matches:
                _record(stage, match.order.operation, match.depth)
    stage.disturbed()


def _record(stage: Stage, name: str, depth: str) -> None:
    record_operation(stage, name, depth, stage.profile.users, stage.rows)
    if depth == DEPTH:
        _record_floors(stage, name)


def record_operation(stage: Stage, name: str, depth: str, size: int, rows: Synthetic) -> None:
    """Write what both stores took for an operation at a depth, and their ratio, into the record if there is a round.

    ``size`` names the samples, ``rows`` are what the stores held.
    """
    taken = {store: stage.rounds(NAME, name, store, depth, size) for store in stage.stores}
    if not all(taken.values()):
        return
    for store, rounds in taken.items():
        figures = statistics.summary(rounds, stage.seed)
        stage.result.operations.append(
            Operation(
                operation=name,
                store=store,
                depth=depth,
                n=figures.n,
                p50_us=figures.p50_us,
                p95_us=figures.p95_us,
                p99_us=figures.p99_us,
                max_us=figures.max_us,
                interval=figures.interval,
                users=rows.users,
                messages=rows.messages,
            )
        )
    if len(taken) == 2 and name != NOOP:
        postgresql, memory = taken["postgresql"], taken["memory"]
        value, interval = statistics.ratio(postgresql, memory, stage.seed)
        verdict, p = statistics.compare(statistics.pooled(postgresql), statistics.pooled(memory))
        stage.result.ratios.append(
            Ratio(operation=name, depth=depth, ratio=value, interval=interval, verdict=verdict, p=p)
        )


def _record_floors(stage: Stage, name: str) -> None:
    if name == NOOP:
        return
    floors = [(store, *FLOORS[store]) for store in stage.stores]
    if "postgresql" in stage.stores and name in pgbench.OPERATIONS:
        floors.append(("postgresql", pgbench.NAME, pgbench.NAME))
    for store, floor, kind in floors:
        taken, below = (stage.rounds(NAME, name, who, DEPTH, stage.profile.users) for who in (store, floor))
        if not below:
            return
        value, interval = statistics.ratio(taken, below, stage.seed)
        stage.result.floors.append(
            Floor(
                operation=name,
                store=store,
                kind=kind,
                p50_us=statistics.summary(below, stage.seed).p50_us,
                ratio=value,
                interval=interval,
            )
        )


EXPERIMENT = Experiment(
    name=NAME,
    names=(NAME, NOOP, *TABLE),
    steps=lambda stage: steps(stage.profile.rounds) if _operations(stage) else 0,
    perform=perform,
)
