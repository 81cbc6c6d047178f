"""What the lab and the load tests wrote, as tidy frames. Times in milliseconds, shares from 0 to 1.

``load_run`` reads a folder; everything else takes what it gives. A frame of something that the run does not hold is
empty, with the same columns.
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
from chatsys.analytics.runs.loadtest import audit, capacity, distribution, latency, timeline, turns
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
    "samples",
    "show_run",
    "timeline",
    "turns",
]
