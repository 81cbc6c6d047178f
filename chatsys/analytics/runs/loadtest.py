"""A load test's folder as frames: its repetitions, latencies, audit, and one time axis for users, server, database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chatsys.analytics.runs.files import Run, beside, needs, timed, typed
from chatsys.results.capacity import limit, outcome

PUSH = "receive-message "
"""Prefix of the name of each figure that is timed from the sender's timestamp to a recipient; the persona follows."""

_COUNTERS = {
    "xact_commit": "commits_total",
    "xact_rollback": "rollbacks_total",
    "tup_inserted": "rows_inserted_total",
    "tup_updated": "rows_updated_total",
    "blks_read": "buffer_reads_total",
    "blks_hit": "buffer_hits_total",
    "temp_files": "temporary_files_total",
    "wal_bytes": "wal_bytes_total",
}
_SERVER = {"cpu": "server_cpu_ratio", "rss": "server_memory_bytes"}


def repetitions(run: Run) -> pd.DataFrame:
    """A row for each repetition: store, users, verdict, reasons, seconds."""
    needs(run, "loadtest")
    rows = [
        (each["number"], each["store"], run.record["plan"]["users"], each["verdict"], "; ".join(each["reasons"]),
         each["locust"].get("seconds"))
        for each in run.record["repetitions"]
    ]  # fmt: skip
    return typed(("repetition", "store", "users", "verdict", "reasons", "seconds"), rows, run=run.id)


def distribution(run: Run, prefix: str = PUSH) -> pd.DataFrame:
    """The distributions whose names begin with ``prefix``: repetition, store, name, latency_ms, samples (how often)."""
    rows = [
        (repetition["number"], repetition["store"], figure["name"], ms, count)
        for repetition, figure in _measured(run, "figures")
        if figure["name"].startswith(prefix)
        for ms, count in figure["histogram"]
    ]
    return typed(("repetition", "store", "name", "latency_ms", "samples"), rows, run=run.id)


def latency(run: Run) -> pd.DataFrame:
    """A row for each figure of a repetition: method, name, samples, failures, p50, p95, p99 and max in ms.

    Times are missing for what was counted but not timed.
    """
    columns = ("repetition", "store", "method", "name", "samples", "failures", "p50_ms", "p95_ms", "p99_ms", "max_ms")
    rows = [
        (repetition["number"], repetition["store"], f["method"], f["name"], f["count"], f["failures"],
         *_percentiles(f["histogram"]))
        for repetition, f in _measured(run, "figures")
    ]  # fmt: skip
    return typed(columns, rows, run=run.id)


def capacity(run: Run) -> pd.DataFrame:
    """The steps of a capacity search, a row for each: store, users, p99_ms of pushes, failures, outcome, limit.

    ``outcome`` is held, failed or not measurable; ``limit`` is what ran out first. Empty for a run of another scenario.
    """
    rows = [
        (repetition["store"], step["users"], step["push_p99"], step["failures"], step["deviations"], outcome(step),
         limit(step))
        for repetition, step in _measured(run, "steps")
    ]  # fmt: skip
    return typed(("store", "users", "p99_ms", "failures", "deviations", "outcome", "limit"), rows, run=run.id)


def _measured(run: Run, what: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each repetition with each of its figures, or with each of its steps."""
    needs(run, "loadtest")
    for repetition in run.record["repetitions"]:
        for each in repetition["locust"].get(what, ()):
            yield repetition, each


def audit(run: Run) -> pd.DataFrame:
    """A row for each repetition and room: counts of messages sent, stored, expected, delivered, and of deviations."""
    needs(run, "loadtest")
    rows = [
        {"repetition": repetition["number"], "store": repetition["store"], **row}
        for repetition in run.record["repetitions"]
        for row in repetition["locust"].get("audit", {}).get("rows", ())
    ]
    frame = pd.DataFrame(rows) if rows else pd.DataFrame({"repetition": [], "store": [], "room": []})
    kinds: dict[Any, Any] = {name: "string" if name in ("store", "room") else "Int64" for name in frame.columns}
    frame = frame.astype(kinds)
    frame.attrs = {"run": run.id}
    return frame


def timeline(run: Run, repetition: int = 1, watch: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row for each second of a repetition: users, push and acknowledgement latency, CPU, memory, database counters.

    Columns: taken_at, elapsed_ms, users, push_per_second, push_p50_ms, push_p99_ms, ack_p50_ms, ack_p99_ms,
    failures_total, server_cpu_ratio (of one core), server_memory_bytes, generator_cpu_ratio, and for PostgreSQL each
    counter with its rate. ``watch`` is the frame of :meth:`Monitor.watch` of the same time. Its columns are joined to
    the nearest second, with the prefix ``watched_``.
    """
    needs(run, "loadtest")
    entry = next(each for each in run.record["repetitions"] if each["number"] == repetition)
    folder = run.folder / entry["folder"]
    generator = _generator(_lines(folder / "samples.jsonl"))
    server = _server(_lines(folder / "server.jsonl"))
    joined = beside(generator, server, seconds=1)
    if watch is not None:
        seen = watch.add_prefix("watched_").rename(columns={"watched_taken_at": "taken_at"})
        joined = beside(joined, seen, seconds=2)
    joined.insert(1, "elapsed_ms", (joined["taken_at"] - joined["taken_at"].min()).dt.total_seconds() * 1000)
    joined.attrs = {"run": run.id, "repetition": repetition, "store": entry["store"]}
    return joined


def _generator(lines: list[dict[str, Any]]) -> pd.DataFrame:
    columns = ("time", "users", "push_per_second", "push_p50_ms", "push_p99_ms", "ack_p50_ms", "ack_p99_ms",
               "failures_total", "generator_cpu_ratio")  # fmt: skip
    rows = [
        (
            line["time"], line["users"], (line["push"] or {}).get("count", 0), *_spread(line["push"]),
            *_spread(line["ack"]), line["failures"],
            max((each["cpu"] for each in line["generators"].values()), default=float("nan")),
        )
        for line in lines
    ]  # fmt: skip
    return timed(pd.DataFrame(rows, columns=list(columns), dtype="float64"))


def _server(lines: list[dict[str, Any]]) -> pd.DataFrame:
    rows = [
        {name: line[key] for key, name in _SERVER.items()}
        | {name: line["database"][key] for key, name in _COUNTERS.items() if key in line.get("database", {})}
        | {"time": line["time"]}
        for line in lines
    ]
    frame = timed(pd.DataFrame(rows, columns=None if rows else ["time", *_SERVER.values()], dtype="float64"))
    seconds = frame["taken_at"].diff().dt.total_seconds()
    for name in [name for name in _COUNTERS.values() if name in frame]:
        grown = frame[name].diff()
        frame[f"{name.removesuffix('_total')}_per_second"] = grown.where(grown >= 0) / seconds
    return frame


def _spread(figures: dict[str, float] | None) -> tuple[float, float]:
    return (figures["p50"], figures["p99"]) if figures else (float("nan"), float("nan"))


def _percentiles(histogram: list[tuple[float, int]]) -> tuple[float, ...]:
    """The smallest values that 50, 95 and 99 % and all of the samples do not exceed."""
    if not histogram:
        return (float("nan"),) * 4
    values, numbers = np.array(histogram).T
    reached = np.cumsum(numbers)
    at = [float(values[np.searchsorted(reached, share * reached[-1])]) for share in (0.5, 0.95, 0.99)]
    return (*at, float(values[-1]))


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
