"""A benchmark's result.json, distributions and samples as frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pandas as pd

from chatsys.analytics.runs.files import Run, needs, typed
from chatsys.errors import OperatorError
from chatsys.reports.tables import marked
from chatsys.results.claims import judge
from chatsys.results.decision import decide
from chatsys.results.distributions import SHARES, read, read_table
from chatsys.results.names import TITLES, UNKNOWN
from chatsys.results.numbers import change
from chatsys.results.run import SAMPLES, Result

_OPERATIONS = (
    "operation", "store", "depth", "calls", "p50_ms", "p95_ms", "p99_ms", "max_ms", "low_ms", "high_ms",
)  # fmt: skip
_RATIOS = ("operation", "depth", "times", "low", "high", "verdict")
_BASELINES = ("operation", "store", "baseline", "p50_ms", "times", "low", "high")
_POINTS = ("experiment", "subject", "x", "metric", "value", "unit", "low", "high", "samples")
_FITS = ("operation", "store", "exponent", "low", "high", "smallest", "largest", "sizes")
_SURVIVALS = ("store", "killed", "acknowledged", "missing", "missing_ratio")
_CLAIMS = ("promise", "guide", "measured", "parts", "verdict", "in_full", "rule")
_FELT = (
    "action", "over", "data", "memory_p50_ms", "memory_p99_ms", "postgresql_p50_ms", "postgresql_p99_ms",
    "with_postgresql",
)  # fmt: skip
_DISTRIBUTIONS = (
    "experiment", "operation", "subject", "depth", "size", "calls", "share_ratio", "latency_ms",
)  # fmt: skip
_GROWTH = ("operation", "store", "size", "calls", "p50_ms", "p99_ms")


def operations(run: Run) -> pd.DataFrame:
    """A row for each operation, store and depth: calls, p50, p95, p99 and max in ms, low and high of the median."""
    return _frame(
        run,
        _OPERATIONS,
        (
            {**row, "calls": row["n"], **_times(row, "p50", "p95", "p99", "max"), **_bounds(row, "_ms", 1000)}
            for row in run.record.get("operations", ())
        ),
    )


def ratios(run: Run) -> pd.DataFrame:
    """PostgreSQL's median over memory's for each operation and depth, with its interval and the rank test's verdict."""
    return _frame(
        run, _RATIOS, ({**row, "times": row["ratio"], **_bounds(row)} for row in run.record.get("ratios", ()))
    )


def baselines(run: Run) -> pd.DataFrame:
    """The time of each operation as a multiple of its baseline, which is the same work without chatsys."""
    rows = run.record.get("baselines", ())
    return _frame(
        run,
        _BASELINES,
        ({**row, "baseline": row["kind"], "times": row["ratio"], **_times(row, "p50"), **_bounds(row)} for row in rows),
    )


def points(run: Run) -> pd.DataFrame:
    """Every measured point of a curve: experiment, subject, x, metric, value, unit, interval."""
    rows = run.record.get("points", ())
    return _frame(run, _POINTS, ({**row, "samples": row.get("n"), **_bounds(row)} for row in rows))


def fits(run: Run) -> pd.DataFrame:
    """How each operation's median grows with size: the exponent of a power law, and its interval."""
    rows = run.record.get("fits", ())
    sized = ({"smallest": min(row["sizes"]), "largest": max(row["sizes"]), "sizes": len(row["sizes"])} for row in rows)
    return _frame(run, _FITS, ({**row, **_bounds(row), **size} for row, size in zip(rows, sized, strict=True)))


def counts(run: Run) -> pd.DataFrame:
    """Counts, which noise does not affect: subject, metric, value."""
    return _frame(run, ("subject", "metric", "value"), run.record.get("counts", ()))


def persistence(run: Run) -> pd.DataFrame:
    """For each process killed under traffic: messages acknowledged before, and how many of them were missing later."""
    rows = run.record.get("persistence", ())
    return _frame(
        run, _SURVIVALS, ({**row, "missing_ratio": row["missing"] / max(row["acknowledged"], 1)} for row in rows)
    )


def claims(run: Run) -> pd.DataFrame:
    """The guide's promises: its figures, what was measured, each part with its result, the verdict, the rule."""
    rows = (
        {"promise": each.title, "guide": each.guide, "measured": each.brief, "verdict": each.verdict,
         "parts": "; ".join(map(marked, each.parts)), "in_full": each.measured, "rule": each.rule}
        for each in judge(record(run)) if each.verdict != UNKNOWN
    )  # fmt: skip
    return _frame(run, _CLAIMS, rows)


def felt(run: Run) -> pd.DataFrame:
    """How long a client waits with either store, what PostgreSQL changes in words, and what the stores held."""
    rows = (
        {"action": each.what, "over": each.how, "data": each.data, "with_postgresql": each.change,
         "memory_p50_ms": each.memory.p50 / 1000, "memory_p99_ms": each.memory.p99 / 1000,
         "postgresql_p50_ms": each.postgresql.p50 / 1000, "postgresql_p99_ms": each.postgresql.p99 / 1000}
        for each in decide(record(run)).felt
    )  # fmt: skip
    return _frame(run, _FELT, rows)


def record(run: Run) -> Result:
    """The record of a benchmark with its types. Raises OperatorError for a run of another kind."""
    needs(run, "bench")
    return msgspec.convert(run.record, Result)


def distributions(run: Run, **only: str) -> pd.DataFrame:
    """The distribution of each kind of call: experiment, operation, subject, depth, size, calls, and for each
    share_ratio the latency_ms that this share of the calls did not exceed. ``only`` keeps the rows with these values.
    """
    needs(run, "bench")
    rows = [
        (each.experiment, each.operation, each.subject, each.depth, each.size, each.n, share, us / 1000)
        for each in read(run.folder)
        if all(getattr(each, name) == value for name, value in only.items())
        for share, us in zip(SHARES, each.microseconds, strict=True)
    ]
    return typed(_DISTRIBUTIONS, rows, run=run.id)


def samples(run: Run, **only: str) -> pd.DataFrame:
    """Every timed call: experiment, operation, subject, depth, size, round, latency_ms.

    ``only`` keeps the rows with these values: ``samples(run, experiment="growth")``. Raises OperatorError for a
    published run, which keeps only its distributions.
    """
    needs(run, "bench")
    if not (run.folder / SAMPLES).exists():
        raise OperatorError(
            f"{run.folder} has no samples: a published run keeps only its distributions.",
            hint="Use runs.distributions, or a run of your own: `chatsys bench list`.",
        )
    frame: pd.DataFrame = read_table(run.folder / SAMPLES, only).to_pandas()
    frame["latency_ms"] = frame.pop("microseconds").astype("float64") / 1000
    for name in ("experiment", "operation", "subject", "depth"):
        frame[name] = frame[name].astype("string")
    frame.attrs = {"run": run.id}
    return frame


def growth(run: Run) -> pd.DataFrame:
    """The median and p99 of each operation at each size of the growth experiment."""
    found = distributions(run, experiment="growth")
    keys = ["operation", "subject", "size", "calls"]
    at = {name: found[found["share_ratio"].eq(share)] for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))}
    both = [part.set_index(keys)["latency_ms"].rename(name) for name, part in at.items()]
    rows = pd.concat(both, axis="columns").reset_index().sort_values(["operation", "subject", "size"])
    records: list[Any] = rows.rename(columns={"subject": "store"}).to_dict("records")
    return _frame(run, _GROWTH, records)


def durability(run: Run) -> pd.DataFrame:
    """The durability levels: the rate that each allows, as points with the unit 1/s."""
    found = points(run)
    levels = found[found["experiment"].eq("durability") & found["unit"].eq("1/s")].reset_index(drop=True)
    levels.attrs = {"run": run.id}
    return levels


def guide_table(run: Run, depth: str = "store") -> pd.DataFrame:
    """The guide's operations at one depth: both stores' p50, p95 and p99 in ms, and what PostgreSQL changes in words.

    ``postgresql_times_bare_driver`` is the time as a multiple of the same statement over a bare asyncpg connection.
    """
    measured = operations(run)
    measured = measured[measured["depth"].eq(depth)].set_index(["operation", "store"])
    bare = baselines(run)
    bare = bare[bare["store"].eq("postgresql")].drop_duplicates("operation").set_index("operation")
    rows = []
    for name in [name for name in TITLES if name in set(measured.index.get_level_values(0))]:
        row: dict[str, Any] = {"operation": TITLES[name]}
        for store in ("memory", "postgresql"):
            for figure in ("p50_ms", "p95_ms", "p99_ms"):
                known = (name, store) in measured.index
                row[f"{store}_{figure}"] = measured.loc[(name, store), figure] if known else float("nan")
        medians = row["memory_p50_ms"] * 1000, row["postgresql_p50_ms"] * 1000
        row["with_postgresql"] = change(*medians) if not any(map(math.isnan, medians)) else ""
        if depth == "store":
            row["postgresql_times_bare_driver"] = bare["times"].get(name, float("nan"))
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs = {"run": run.id, "depth": depth}
    return frame


def _frame(run: Run, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    needs(run, "bench")
    return typed(columns, rows, run=run.id)


def _times(row: Mapping[str, Any], *names: str) -> dict[str, float]:
    return {f"{name}_ms": row[f"{name}_us"] / 1000 for name in names}


def _bounds(row: Mapping[str, Any], ending: str = "", divisor: float = 1) -> dict[str, float]:
    interval = row.get("interval") or {"low": float("nan"), "high": float("nan")}
    return {f"{name}{ending}": interval[name] / divisor for name in ("low", "high")}
