"""What each operation costs PostgreSQL, in counts without noise (statements, WAL bytes, commits, buffers), and how long
it waits for a connection of the pool."""

from __future__ import annotations

from typing import Any

import psycopg

from chatsys.database.connecting import connected
from chatsys.lab.datasets.databases import counts_statements
from chatsys.lab.record import Count
from chatsys.lab.runner.environment import Environment, Experiment
from chatsys.lab.runner.repetitions import Order
from chatsys.lab.workloads.operation import SEND, TABLE

NAME = "costs"
_CALLS = 64
_COUNTERS = """
SELECT (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE dbid = d.oid AND toplevel AND query !~* %(noise)s),
       (SELECT coalesce(sum(wal_bytes), 0) FROM pg_stat_statements WHERE dbid = d.oid AND toplevel),
       (SELECT coalesce(sum(shared_blks_hit), 0) FROM pg_stat_statements WHERE dbid = d.oid AND toplevel
                                                                          AND query !~* %(noise)s),
       (SELECT coalesce(sum(shared_blks_read), 0) FROM pg_stat_statements WHERE dbid = d.oid AND toplevel
                                                                           AND query !~* %(noise)s),
       (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE dbid = d.oid AND toplevel AND wal_records > 0
                                                                 AND query !~* %(noise)s)
FROM pg_database d WHERE d.datname = current_database()
"""
_NOISE = "pg_stat_|^(begin|commit|rollback|set|show|discard|deallocate|prepare)|pg_catalog|chat_servers"
_METRICS = ("statements", "WAL bytes", "buffer hits", "buffer reads", "writing statements", "µs of pool wait")
"""The costs of a call. Statements are those of the store, without heartbeats; writing statements also commit."""


async def perform(env: Environment) -> None:
    """Count over ``_CALLS`` calls, one at a time. Sending is also counted with 64 callers, which share WAL flushes."""
    if "postgresql" not in env.stores:
        return
    url = env.database(env.rows, NAME)
    async with env.opened("postgresql", env.rows, purpose=NAME) as store:
        with connected(url, autocommit=True) as connection:
            if not counts_statements(connection):
                env.result.limitations.append("Costs were not counted: this server lacks pg_stat_statements.")
                return
            for name, concurrency in [*((name, 1) for name in TABLE), (SEND, _CALLS)]:
                label = name if concurrency == 1 else f"{name} x{concurrency}"
                env.step(f"costs: {label}")
                calls = _CALLS * concurrency
                order = Order(operation=name, seconds=0, least=concurrency, concurrency=concurrency, seed=env.seed)
                await store.repeat(order)  # connects and prepares
                before = _counters(connection)
                done = await store.repeat(
                    Order(operation=name, seconds=0, least=calls, concurrency=concurrency, seed=env.seed + 1)
                )
                after = _counters(connection)
                spent = [b - a for a, b in zip(before, after, strict=True)] + [done.pool_wait * 1e6]
                for metric, value in zip(_METRICS, spent, strict=True):
                    env.result.counts.append(
                        Count(subject=label, metric=f"{metric} per call", value=value / len(done.nanoseconds))
                    )


def _counters(connection: psycopg.Connection[Any]) -> list[float]:
    """The current counters. The pattern _NOISE leaves out the statements that read them."""
    connection.execute("SELECT pg_stat_clear_snapshot()")
    row = connection.execute(_COUNTERS, {"noise": _NOISE}).fetchone()
    assert row is not None
    return [float(value) for value in row]


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=lambda _: len(TABLE) + 1, perform=perform)
