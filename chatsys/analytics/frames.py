"""Turn the rows of a query into a frame with the columns and dtypes that the catalogue declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from chatsys.analytics.catalogue import Column, Query


def frame_of(query: Query, rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """A frame with the columns that ``query`` declares, in that order. The dtypes are the same for zero rows.

    Raises ValueError if the rows do not have the declared number of columns.
    """
    values = zip(*rows, strict=True) if rows else iter(((),) * len(query.columns))
    return pd.DataFrame(
        {column.name: _series(column, list(cells)) for column, cells in zip(query.columns, values, strict=True)}
    )


def _series(column: Column, cells: list[Any]) -> pd.Series[Any]:
    dtype: Any = column.dtype
    if column.kind == "time":
        times: pd.Series[Any] = pd.to_datetime(pd.Series(cells, dtype="object"), utc=True).astype(dtype)
        return times
    if column.kind == "number":
        cells = [float("nan") if cell is None else float(cell) for cell in cells]
    series: pd.Series[Any] = pd.Series(cells, dtype=dtype)
    return series
