"""Compare two runs of the lab by what noise hardly affects: ratios within a run, and counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from chatsys.analytics.runs.bench import baselines, counts, felt, ratios
from chatsys.analytics.runs.files import Run, typed
from chatsys.errors import OperatorError

_COUNT_FACTOR = 1.1
_RATIO, _BASELINE = "PostgreSQL over memory", "times the baseline"
_COMPARED = ("operation", "measure", "unit", "before", "after", "ratio", "low", "high", "verdict")


def compare_runs(before: Run, after: Run) -> pd.DataFrame:
    """A row for each figure of both runs: what, metric, before, after, change_ratio (after over before - 1), differs.

    ``differs`` is true for a ratio if the two intervals do not overlap, and for a count if it changed by more than a
    tenth. Absolute times are not compared, because the machine's state differs between runs: use
    :func:`compared_commits` for speed.
    """
    joined = _figures(before).merge(_figures(after), on=["what", "metric"], suffixes=("_before", "_after"))
    joined = joined.rename(columns={"value_before": "before", "value_after": "after"})
    joined["change_ratio"] = (joined["after"] / joined["before"].where(joined["before"] != 0)) - 1
    apart = joined["low_after"].gt(joined["high_before"]) | joined["high_after"].lt(joined["low_before"])
    far = joined["change_ratio"].abs().gt(_COUNT_FACTOR - 1)
    joined["differs"] = apart.where(joined["metric"].isin([_RATIO, _BASELINE]), apart & far).astype("boolean")
    result = joined[["what", "metric", "before", "after", "change_ratio", "differs"]]
    result.attrs = {"before": before.id, "after": after.id}
    return result


def compared_waits(before: Run, after: Run) -> pd.DataFrame:
    """How long a client waits in two runs: action, over, the medians of both stores before and after. No verdict."""
    keys, medians = ["action", "over"], ["data", "memory_p50_ms", "postgresql_p50_ms"]
    frames = [
        felt(run).set_index(keys)[medians].add_prefix(f"{when}_")
        for when, run in (("before", before), ("after", after))
    ]
    joined = pd.concat(frames, axis="columns", join="inner").reset_index()
    joined.attrs = {"before": before.id, "after": after.id}
    return joined


def compared_commits(path: str | Path | None) -> pd.DataFrame:
    """What ``chatsys bench --against REV --out FOLDER`` found: a row for each measure; empty for None.

    Columns: operation, measure, before, after (medians, in ``unit``), ratio with its interval, verdict. Raises
    OperatorError for a folder without a comparison.
    """
    rows: list[dict[str, Any]] = []
    attributes: dict[str, Any] = {}
    if path is not None:
        file = Path(path) / "comparison.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            rows = [{**row, **row["interval"]} for row in found["rows"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OperatorError(
                f"{file} is not the record of a comparison: {error}.",
                hint="Make one with `chatsys bench --against REV --out FOLDER`.",
            ) from error
        attributes = {"before": found["before"]["commit"], "after": found["after"]["commit"], "valid": found["valid"]}
    return typed(_COMPARED, rows, **attributes)


def _figures(run: Run) -> pd.DataFrame:
    both, bare, counted = ratios(run), baselines(run), counts(run)
    parts = [
        _part(both["operation"] + ", " + both["depth"], _RATIO, both, "times"),
        _part(bare["operation"] + ", " + bare["store"] + ", " + bare["baseline"], _BASELINE, bare, "times"),
        counted.rename(columns={"subject": "what"}).assign(low=counted["value"], high=counted["value"]),
    ]
    return pd.concat(parts, ignore_index=True)


def _part(what: pd.Series[str], metric: str, frame: pd.DataFrame, value: str) -> pd.DataFrame:
    columns = {"what": what, "value": frame[value], "low": frame["low"], "high": frame["high"]}
    return pd.DataFrame(columns).assign(metric=pd.Series(metric, index=frame.index, dtype="string"))
