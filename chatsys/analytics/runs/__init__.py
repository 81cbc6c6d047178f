"""The results of the lab and the load tests as tidy frames. Times are in milliseconds, shares from 0 to 1.

``load_run`` reads a folder and returns a Run, which the other functions take. If the run lacks something, its frame is
empty and has the same columns.
"""

from __future__ import annotations

from chatsys.analytics.runs.bench import (
    baselines,
    claims,
    counts,
    distributions,
    durability,
    felt,
    fits,
    growth,
    guide_table,
    operations,
    persistence,
    points,
    ratios,
    record,
    samples,
)
from chatsys.analytics.runs.comparing import compare_runs, compared_commits, compared_waits
from chatsys.analytics.runs.files import Run, find_run, load_run
from chatsys.analytics.runs.loadtest import audit, capacity, distribution, latency, repetitions, timeline
from chatsys.analytics.runs.making import show_run
from chatsys.analytics.runs.monitoring import beside_locust, monitored

__all__ = [
    "Run",
    "audit",
    "baselines",
    "beside_locust",
    "capacity",
    "claims",
    "compare_runs",
    "compared_commits",
    "compared_waits",
    "counts",
    "distribution",
    "distributions",
    "durability",
    "felt",
    "find_run",
    "fits",
    "growth",
    "guide_table",
    "latency",
    "load_run",
    "monitored",
    "operations",
    "persistence",
    "points",
    "ratios",
    "record",
    "repetitions",
    "samples",
    "show_run",
    "timeline",
]
