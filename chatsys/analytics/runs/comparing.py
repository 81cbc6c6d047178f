"""Two runs of the lab side by side, by what noise can't touch: ratios within a run, and counts."""

from __future__ import annotations

import pandas as pd

from chatsys.analytics.runs.bench import counts, floors, ratios
from chatsys.analytics.runs.files import Run


def compare_runs(before: Run, after: Run) -> pd.DataFrame:
    """A row a figure that both runs have: what, metric, before, after, change_ratio (after over before - 1), differs.

    ``differs`` is true for a ratio when the two intervals have nothing in common, and for a count when it is another
    number. Absolute times are not compared: two runs see two moods of a machine.
    """
    joined = _figures(before).merge(_figures(after), on=["what", "metric"], suffixes=("_before", "_after"))
    joined = joined.rename(columns={"value_before": "before", "value_after": "after"})
    joined["change_ratio"] = (joined["after"] / joined["before"].where(joined["before"] != 0)) - 1
    apart = joined["low_after"].gt(joined["high_before"]) | joined["high_after"].lt(joined["low_before"])
    joined["differs"] = apart.astype("boolean")
    result = joined[["what", "metric", "before", "after", "change_ratio", "differs"]]
    result.attrs = {"before": before.id, "after": after.id}
    return result


def _figures(run: Run) -> pd.DataFrame:
    both, floor, counted = ratios(run), floors(run), counts(run)
    parts = [
        _part(both["operation"] + ", " + both["depth"], "PostgreSQL over memory", both, "times"),
        _part(floor["operation"] + ", " + floor["store"], "times the floor", floor, "times"),
        pd.DataFrame(
            {
                "what": counted["subject"],
                "metric": counted["metric"],
                **dict.fromkeys(("value", "low", "high"), counted["value"]),
            }
        ),
    ]
    return pd.concat(parts, ignore_index=True)


def _part(what: pd.Series[str], metric: str, frame: pd.DataFrame, value: str) -> pd.DataFrame:
    columns = {"what": what, "value": frame[value], "low": frame["low"], "high": frame["high"]}
    return pd.DataFrame(columns).assign(metric=pd.Series(metric, index=frame.index, dtype="string"))
