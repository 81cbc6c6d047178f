"""The limit of a search for the capacity: which resource ran out first, and whether more generators would help."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from chatsys.lab.loadtest import memory
from chatsys.results import capacity


def more_generators_help(steps: Sequence[dict[str, Any]], processes: int) -> bool:
    """Whether the generator ended the search although the machine has processors for twice as many generators."""
    found = capacity.answer(steps)
    return found.failed is None and found.unmeasured is not None and 2 * processes <= _cpus()


def name_limits(steps: Sequence[dict[str, Any]], folder: Path) -> None:
    """Set the limit of each step that failed by its latency: the resource that ran out in the seconds of that step."""
    users = {round(line["time"]): line for line in memory.lines(folder / "samples.jsonl")}
    lines = [line for line in memory.lines(folder / "server.jsonl") if "cpu" in line]
    server = [(line, users.get(round(line["time"]))) for line in lines]
    for step in steps:
        if step["outcome"] != capacity.FAILED or step["limit"] != capacity.LATENCY:
            continue
        pairs = [(line, seen) for line, seen in server if seen is not None and seen["users"] == step["users"]]
        if not pairs:
            continue
        step["limit"] = capacity.resource(
            server=fmean([line["cpu"] for line, _ in pairs]),
            database=fmean([line.get("database_cpu", 0.0) for line, _ in pairs]),
            generators=fmean([sum(each["cpu"] for each in seen["generators"].values()) for _, seen in pairs]),
            cpus=_cpus(),
        )


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
