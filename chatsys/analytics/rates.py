"""What happened between two frames of one query: each counter as a rate."""

from __future__ import annotations

import pandas as pd

from chatsys.analytics.catalogue import QUERIES


def rate_name(counter: str) -> str:
    """``commits_total`` as the name of its rate, ``commits_per_second``."""
    return f"{counter.removesuffix('_total')}_per_second"


def rates(before: pd.DataFrame | None, after: pd.DataFrame, *, keep_totals: bool = False) -> pd.DataFrame:
    """``after`` with a rate in place of each counter or, with ``keep_totals``, with the rates as additional columns.

    The text columns identify a row. A rate is missing in the first frame, for a new row, and if a counter decreased.
    Other columns are unchanged, including means and ratios since counting began.
    """
    query = QUERIES[after.attrs["query"]]
    seconds = 0.0 if before is None else _seconds(before, after)
    keys = [name for name in query.keys if name != "query"]
    result = after.copy()
    for counter in query.counters:
        grown = _grown(before, after, keys, counter)
        rate = (grown.where(grown >= 0) / seconds) if seconds > 0 else grown * float("nan")
        if keep_totals:
            result[rate_name(counter)] = rate
        else:
            index = list(result.columns).index(counter)
            result = result.drop(columns=counter)
            name = rate_name(counter)
            if name in result:
                result = result.drop(columns=name)
            result.insert(min(index, len(result.columns)), name, rate)
    result.attrs = dict(after.attrs)
    return result


def _seconds(before: pd.DataFrame, after: pd.DataFrame) -> float:
    first, last = (pd.Timestamp(frame.attrs["taken_at"]) for frame in (before, after))
    return float((last - first).total_seconds())


def _grown(before: pd.DataFrame | None, after: pd.DataFrame, keys: list[str], counter: str) -> pd.Series[float]:
    now = after[counter].astype("float64")
    if before is None:
        return now * float("nan")
    if not keys or len(after) == len(before) == 1:
        return now.reset_index(drop=True) - before[counter].astype("float64").reset_index(drop=True)
    index = [*keys, *(["query_id"] if "query_id" in after else [])]
    then = before.groupby(index, dropna=False)[counter].sum().astype("float64")
    joined = after[index].merge(then.rename("then").reset_index(), on=index, how="left")
    return pd.Series(now.to_numpy() - joined["then"].to_numpy(dtype="float64"), index=after.index)
