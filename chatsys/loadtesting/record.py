"""The files of a run: ``samples.jsonl`` (one line per second) and ``locust.json`` (figures, audit, verdict)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from locust.env import Environment
from locust.stats import calculate_response_time_percentile

from chatsys.loadtesting.recent import times_since
from chatsys.loadtesting.run import RUN
from chatsys.loadtesting.shapes import CapacityStep, is_push
from chatsys.loadtesting.validity import Measurements
from chatsys.results.audit import Audit

SCHEMA = 1
SAMPLES = "samples.jsonl"
RESULT = "locust.json"
CONFIRMATIONS = ("ack", "echo")
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class LocustFigure(msgspec.Struct):
    """One line of Locust's table with its histogram: pairs (milliseconds, count), ascending."""

    method: str
    name: str
    count: int
    failures: int
    histogram: list[tuple[float, int]]


class Failure(msgspec.Struct):
    """A kind of failure and how often it happened."""

    method: str
    name: str
    error: str
    occurrences: int


class LocustResult(msgspec.Struct):
    """A run as its generator saw it. ``verdict`` is VALID, FAILED or INVALID."""

    schema_version: int
    run: str
    verdict: str
    reasons: list[str]
    options: dict[str, Any]
    seconds: float
    figures: list[LocustFigure]
    failures: list[Failure]
    untimed: dict[str, int]
    unhandled: dict[str, int]
    elsewhere: int
    clock: str
    audit: Audit
    generators: dict[str, Measurements]
    steps: list[CapacityStep]


def figures_of(environment: Environment) -> list[LocustFigure]:
    """The lines of Locust's table with their histograms."""
    return [
        LocustFigure(each.method, each.name, each.num_requests, each.num_failures, sorted(each.response_times.items()))
        for _, each in sorted(environment.stats.entries.items())
    ]


def failures_of(environment: Environment) -> list[Failure]:
    """The failures by cause, including exceptions inside users."""
    errors, exceptions = environment.stats.errors.values(), environment.runner.exceptions.values()
    counted = [Failure(each.method, each.name, each.parse_error(each.error), each.occurrences) for each in errors]
    return counted + [Failure("user", "exception", entry["msg"], entry["count"]) for entry in exceptions]


class Sampler:
    """Appends one line per second to ``samples.jsonl``: users, times since the last line, load of the generators."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / SAMPLES).open("wb")
        self._at = time.monotonic()

    def sample(self, environment: Environment, generators: dict[str, dict[str, float]]) -> None:
        """Write the line of this second."""
        entries, since, self._at = environment.stats.entries, self._at, time.monotonic()
        line = {
            "time": time.time(),
            "users": environment.runner.user_count,
            "push": _spread(times_since(entry, since) for key, entry in entries.items() if is_push(key)),
            "ack": _spread(times_since(entry, since) for key, entry in entries.items() if _is_confirmation(key)),
            "failures": environment.stats.num_failures,
            "generators": generators,
        }
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_confirmation(key: tuple[str, str]) -> bool:
    """True if the row (name, method) has the response times of sent messages."""
    name, method = key
    return method in CONFIRMATIONS and name == RUN.dialect.send_event


def _spread(histograms: Iterable[dict[float, int]]) -> dict[str, float] | None:
    """Count and percentiles in milliseconds of the merged histograms; None if nothing was timed."""
    histogram: Counter[float] = Counter()
    for each in histograms:
        histogram.update(each)
    n = sum(histogram.values())
    if not n:
        return None
    at = {name: calculate_response_time_percentile(histogram, n, share) for name, share in PERCENTILES.items()}
    return {"count": n, **at, "max": max(histogram)}
