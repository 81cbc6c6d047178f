"""The lab's result.json and samples.parquet as frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from chatsys.analytics.runs.files import Run, needs

TITLES = {
    "find_user_by_id": "Find a user by id",
    "find_user_by_name": "Find a user by name",
    "recent_messages": "Get 100 messages",
    "mark_read": "Mark a message read",
    "search_users": "Search users",
    "send_message": "Send a message",
}
"""The operations of the guide's table, in its order."""

_OPERATIONS = {
    "operation": "string", "store": "string", "depth": "string", "calls": "Int64", "p50_ms": "float64",
    "p95_ms": "float64", "p99_ms": "float64", "max_ms": "float64", "low_ms": "float64", "high_ms": "float64",
}  # fmt: skip
_RATIOS = {
    "operation": "string", "depth": "string", "times": "float64", "low": "float64", "high": "float64",
    "verdict": "string",
}  # fmt: skip
_FLOORS = {
    "operation": "string", "store": "string", "floor": "string", "p50_ms": "float64", "times": "float64",
    "low": "float64", "high": "float64",
}  # fmt: skip
_POINTS = {
    "experiment": "string", "subject": "string", "x": "float64", "metric": "string", "value": "float64",
    "unit": "string", "low": "float64", "high": "float64", "samples": "Int64",
}  # fmt: skip
_FITS = {
    "operation": "string", "store": "string", "exponent": "float64", "low": "float64", "high": "float64",
    "smallest": "Int64", "largest": "Int64", "sizes": "Int64",
}  # fmt: skip
_COUNTS = {"subject": "string", "metric": "string", "value": "float64"}
_SURVIVALS = {
    "store": "string", "killed": "string", "acknowledged": "Int64", "missing": "Int64", "missing_ratio": "float64",
}  # fmt: skip
_CLAIMS = {
    "claim": "string", "promise": "string", "verdict": "string", "measured": "string", "rule": "string",
    "samples": "string",
}  # fmt: skip
_GROWTH = {
    "operation": "string", "store": "string", "size": "Int64", "calls": "Int64", "p50_ms": "float64",
    "p99_ms": "float64",
}  # fmt: skip


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


def floors(run: Run) -> pd.DataFrame:
    """How many times the floor (the same work with nothing of chatsys around it) each operation takes."""
    rows = run.record.get("floors", ())
    return _frame(
        run,
        _FLOORS,
        ({**row, "floor": row["kind"], "times": row["ratio"], **_times(row, "p50"), **_bounds(row)} for row in rows),
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
    """What was counted and no noise touches: subject, metric, value."""
    return _frame(run, _COUNTS, run.record.get("counts", ()))


def persistence(run: Run) -> pd.DataFrame:
    """For each kill in mid-traffic: messages acknowledged before, and those of them missing afterwards."""
    rows = run.record.get("persistence", ())
    return _frame(
        run, _SURVIVALS, ({**row, "missing_ratio": row["missing"] / max(row["acknowledged"], 1)} for row in rows)
    )


def claims(run: Run) -> pd.DataFrame:
    """The guide's promises: verdict, what was measured, the rule it was judged by, where the samples are."""
    return _frame(run, _CLAIMS, run.record.get("claims", ()))


def samples(run: Run, **only: str) -> pd.DataFrame:
    """Every timed call: experiment, operation, contestant, depth, size, round, latency_ms.

    ``only`` keeps the rows with these values: ``samples(run, experiment="growth")``.
    """
    needs(run, "bench")
    filters = [(name, "==", value) for name, value in only.items()] or None
    frame = pd.read_parquet(run.folder / "samples.parquet", filters=filters)
    frame["latency_ms"] = frame.pop("microseconds").astype("float64") / 1000
    for name in ("experiment", "operation", "contestant", "depth"):
        frame[name] = frame[name].astype("string")
    frame.attrs = {"run": run.id}
    return frame


def growth(run: Run) -> pd.DataFrame:
    """The median and p99 of each operation at each size of the growth experiment."""
    calls = samples(run, experiment="growth")
    grouped = calls.groupby(["operation", "contestant", "size"])["latency_ms"]
    rows = grouped.agg(calls="size", p50_ms="median", p99_ms=lambda taken: taken.quantile(0.99)).reset_index()
    records: list[Any] = rows.rename(columns={"contestant": "store"}).to_dict("records")
    return _frame(run, _GROWTH, records)


def durability(run: Run) -> pd.DataFrame:
    """The steps of the durability ladder: what each costs, as points with a rate a second."""
    found = points(run)
    ladder = found[found["experiment"].eq("durability") & found["unit"].eq("1/s")].reset_index(drop=True)
    ladder.attrs = {"run": run.id}
    return ladder


def guide_table(run: Run, depth: str = "store") -> pd.DataFrame:
    """The guide's table: a row an operation; both stores' p50, p95 and p99 in ms, and PostgreSQL's times the floor."""
    measured = operations(run)
    measured = measured[measured["depth"].eq(depth)].set_index(["operation", "store"])
    both = ratios(run)
    ratio = both[both["depth"].eq(depth)].set_index("operation")
    floor = floors(run)
    floor = floor[floor["store"].eq("postgresql")].drop_duplicates("operation").set_index("operation")
    rows = []
    for name, title in TITLES.items():
        row: dict[str, Any] = {"operation": title}
        for store in ("memory", "postgresql"):
            for figure in ("p50_ms", "p95_ms", "p99_ms"):
                known = (name, store) in measured.index
                row[f"{store}_{figure}"] = measured.loc[(name, store), figure] if known else float("nan")
        row["postgresql_times_memory"] = ratio["times"].get(name, float("nan"))
        row["postgresql_times_floor"] = floor["times"].get(name, float("nan")) if depth == "store" else float("nan")
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs = {"run": run.id, "depth": depth}
    return frame


def _frame(run: Run, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    needs(run, "bench")
    kinds: dict[Any, Any] = dict(columns)
    frame = pd.DataFrame([[row.get(name) for name in columns] for row in rows], columns=list(columns)).astype(kinds)
    frame.attrs = {"run": run.id}
    return frame


def _times(row: Mapping[str, Any], *names: str) -> dict[str, float]:
    return {f"{name}_ms": row[f"{name}_us"] / 1000 for name in names}


def _bounds(row: Mapping[str, Any], ending: str = "", divisor: float = 1) -> dict[str, float]:
    interval = row.get("interval")
    if not interval:
        return {f"low{ending}": float("nan"), f"high{ending}": float("nan")}
    return {f"low{ending}": interval["low"] / divisor, f"high{ending}": interval["high"] / divisor}
