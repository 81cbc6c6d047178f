"""Records and samples with made-up times."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from chatsys.database.embedded import embedded_server
from chatsys.lab.record import Baseline, Count, Fit, OperationResult, Point, Ratio, Result, Sampled, Survival
from chatsys.lab.workloads.operation import TABLE
from chatsys.results.run import Interval


def operation(name: str, store: str, p50: float, depth: str = "store") -> OperationResult:
    """Return a row with percentiles that follow from its median."""
    return OperationResult(
        operation=name,
        store=store,
        depth=depth,
        n=1000,
        p50_us=p50,
        p95_us=2 * p50,
        p99_us=4 * p50,
        max_us=9 * p50,
        interval=Interval(0.95 * p50, 1.05 * p50),
    )


@pytest.fixture(scope="session")
def lab_server(shared_folder):
    """A PostgreSQL server for this test process alone, since a run needs a server on which no other run measures."""
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir=shared_folder))
    with embedded_server(folder, settings={"fsync": "off", "full_page_writes": "off"}) as url:
        yield url
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def result() -> Result:
    """A valid run: memory 10 times as fast in everything but search, nothing lost."""
    return make_result()


def make_result() -> Result:
    made = Result(
        id="01900000-0000-7000-8000-000000000001",
        created_at="2026-01-01T00:00:00.000Z",
        profile="standard",
        seed=1,
        environment={"cpu": "a processor", "cpus": 2, "commit": "0123456789abcdef", "python": "CPython 3.11"},
        parameters={},
        limitations=["One machine."],
    )
    for name in TABLE:
        made.operations += [operation(name, "memory", 10), operation(name, "postgresql", 100)]
        made.operations += [operation(name, "postgresql", 6400, "store x64")]
        made.ratios.append(
            Ratio(operation=name, depth="store", ratio=10, interval=Interval(9.5, 10.5), verdict="slower", p=0.0)
        )
        made.baselines.append(
            Baseline(
                operation=name, store="postgresql", kind="asyncpg", p50_us=80, ratio=1.25, interval=Interval(1.2, 1.3)
            )
        )
    for depth, names in (("http", ("find_user_by_id", "recent_messages", "search_users")),
                         ("socket", ("send_message", "mark_read"))):  # fmt: skip
        for name in names:
            both = [operation(name, store, p50, depth) for store, p50 in (("memory", 100), ("postgresql", 300))]
            made.operations += [msgspec.structs.replace(each, users=100_000, messages=20_000) for each in both]
            made.ratios.append(
                Ratio(operation=name, depth=depth, ratio=3, interval=Interval(2.9, 3.1), verdict="slower", p=0.0)
            )
    for name in ("find_user_by_id", "find_user_by_name", "recent_messages", "search_users"):
        for store in ("memory", "postgresql"):
            slope = 0.95 if (name, store) == ("search_users", "memory") else 0.05
            made.fits.append(
                Fit(
                    operation=name,
                    store=store,
                    exponent=slope,
                    interval=Interval(slope - 0.1, slope + 0.1),
                    sizes=(1_000, 10_000, 100_000, 1_000_000),
                )
            )
            for size in (1_000, 10_000, 100_000, 1_000_000):
                value = 10.0 * (size / 1000) ** slope
                made.points.append(
                    Point(experiment=f"growth: {name}", subject=store, x=size, metric="p50", value=value, unit="µs")
                )
    for store in ("memory", "postgresql"):
        for metric in ("bytes per user", "bytes per message"):
            made.points.append(
                Point(experiment="bytes", subject=store, x=1_000_000, metric=metric, value=1000, unit="B")
            )
    made.persistence = [
        Survival(store="memory", killed="server", acknowledged=500, missing=500),
        Survival(store="postgresql", killed="server", acknowledged=500, missing=0),
        Survival(store="postgresql", killed="postgresql", acknowledged=500, missing=0),
    ]
    made.counts = [Count(subject="send_message", metric="WAL bytes per call", value=500)]
    return made


@pytest.fixture
def samples() -> list[Sampled]:
    """Two rounds of every operation on both stores and on the baseline."""
    return make_samples()


def make_samples() -> list[Sampled]:
    generator = np.random.default_rng(1)
    return [
        Sampled(
            experiment="table",
            operation=name,
            subject=subject,
            depth="store",
            size=100,
            round=number,
            microseconds=generator.lognormal(3, 0.3, 200),
        )
        for name in TABLE
        for subject in ("memory", "postgresql", "asyncpg")
        for number in range(2)
    ]
