"""A round: fresh processes of both sides, a warm-up, counting of costs, then short repetitions A B B A."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import psycopg

from chatsys.database.connecting import connected
from chatsys.lab.against.measures import MEMORY, PAGES, STATEMENTS, WAL
from chatsys.lab.against.plan import CONNECTION, COUNTED_CALLS, COUNTED_OPERATIONS, ComparisonPlan, Work
from chatsys.lab.against.requests import Clients, connected_clients
from chatsys.lab.against.sides import Side, running
from chatsys.lab.against.subject import Open, RunOrder
from chatsys.lab.datasets.databases import counts_statements
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.provenance.machine import MachineWatch, processors
from chatsys.store.address import with_database

Observed = dict[tuple[str, str], tuple[float, float]]
"""By operation and measure: the figures of the earlier and the later side."""


class Round(NamedTuple):
    """The figures of a round, and the shares of the processors that other programs and the hypervisor used."""

    observed: Observed
    foreign: float
    steal: float


_COUNTERS = """
SELECT coalesce(sum(calls), 0)::float, coalesce(sum(shared_blks_hit + shared_blks_read), 0)::float,
    coalesce(sum(wal_bytes), 0)::float
FROM pg_stat_statements s
JOIN pg_database d ON d.oid = s.dbid WHERE s.toplevel AND d.datname = %s
"""


def perform(
    sides: Sequence[Side], plan: ComparisonPlan, todo: Sequence[Work], watch: MachineWatch, *, number: int, seed: int
) -> Round:
    """Perform round ``number``. ``watch`` measures the use of the machine from here to the end of the round."""
    figures: defaultdict[tuple[str, str], list[list[float]]] = defaultdict(lambda: [[], []])
    order = Open(url="", users=plan.users, messages=plan.messages, seed=seed, fill=False)
    with (
        connected(with_database(sides[0].server_url, "postgres"), autocommit=True) as admin,
        _both(sides, plan, order, {work.store for work in todo} - {""}, number) as both,
        _kept_to(processors()[1]),
    ):
        watch.shares()
        for side, clients in enumerate(both):
            figures[CONNECTION, MEMORY][side].append(clients.connection_bytes)
            for work in todo:  # a warm-up
                work.repeat(clients, number * 1_000)
            for (name, measure), value in _costs(clients, admin, todo).items():
                figures[name, measure][side].append(value)
            clients.running.find_backends(admin, watch.postmaster is not None)
        for repetition in range(plan.repetitions):
            for work in todo:
                for side in (0, 1) if repetition % 2 == 0 else (1, 0):
                    found = work.repeat(both[side], number * 1_000 + repetition + 1)
                    for measure, value in found.items():
                        figures[work.name, measure][side].append(value)
        foreign, steal = watch.shares()
    both_sides = {key: each for key, each in figures.items() if all(each)}
    observed = {key: (float(np.median(a)), float(np.median(b))) for key, (a, b) in both_sides.items()}
    return Round(observed=observed, foreign=foreign, steal=steal)


@contextmanager
def _both(
    sides: Sequence[Side], plan: ComparisonPlan, order: Open, stores: Iterable[str], number: int
) -> Iterator[list[Clients]]:
    """The clients of both sides. Processes start in parallel; the side that connects first changes with each round."""
    rows = Synthetic(plan.users, plan.messages, order.seed)
    with ExitStack() as stack:
        with ThreadPoolExecutor(2) as pool:
            started = [
                pool.submit(stack.enter_context, running(each, order, stores, processors()[0])) for each in sides
            ]
        found: dict[int, Clients] = {}
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            found[side] = stack.enter_context(
                connected_clients(started[side].result(), rows, senders=plan.senders, members=plan.members)
            )
        yield [found[0], found[1]]


@contextmanager
def _kept_to(cpu: int | None) -> Iterator[None]:
    """Pin this thread, the load generator, to one processor within the block. It shares it with the database."""
    if cpu is None:
        yield
        return
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


def _costs(clients: Clients, admin: psycopg.Connection[Any], todo: Sequence[Work]) -> Mapping[tuple[str, str], float]:
    """Statements, pages and WAL bytes per call of the store on PostgreSQL; empty if the server can't count them."""
    subject = clients.running.subjects.get("postgresql")
    wanted = {work.name for work in todo}
    found: dict[tuple[str, str], float] = {}
    if subject is None or not counts_statements(admin):
        return found
    database = clients.running.side.name_of("store")
    for operation, name in COUNTED_OPERATIONS.items():
        if name not in wanted:
            continue
        spent = []
        for calls in COUNTED_CALLS:
            before = _counters(admin, database)
            subject.run(RunOrder(operation=operation, calls=calls, batch=calls, seed=calls))
            spent.append(np.subtract(_counters(admin, database), before))
        statements, pages, wal = (spent[1] - spent[0]) / (COUNTED_CALLS[1] - COUNTED_CALLS[0])
        found[name, STATEMENTS] = round(float(statements), 2)
        found[name, PAGES] = float(pages)
        if wal > 1:
            found[name, WAL] = float(wal)
    return found


def _counters(admin: psycopg.Connection[Any], database: str) -> list[float]:
    row = admin.execute(_COUNTERS, (database,)).fetchone()
    return [float(value) for value in row or ()]
