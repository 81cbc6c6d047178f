"""The distribution of each kind of sample as some fifty quantiles: enough for any picture, at a hundredth of the size.

A run keeps all its samples; a published run keeps only their distributions.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from chatsys.results.run import DISTRIBUTIONS
from chatsys.results.upgrades import COLUMNS

SHARES: tuple[float, ...] = (*(round(0.02 * step, 2) for step in range(48)), 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)
"""Shares of the samples, from the fastest to the slowest."""
_KEYS = ("experiment", "operation", "subject", "depth", "size")

Key = tuple[str, str, str, str, int]
"""Experiment, operation, subject, depth, size."""
Values = npt.NDArray[np.float64]


class Distribution(msgspec.Struct, frozen=True):
    """The distribution of ``n`` samples. ``microseconds`` are their quantiles at ``SHARES``."""

    experiment: str
    operation: str
    subject: str
    depth: str
    size: int
    n: int
    microseconds: Values


def distribution(key: Key, samples: Values) -> Distribution:
    """The distribution of ``samples``, which must not be empty."""
    return Distribution(*key, n=len(samples), microseconds=np.quantile(samples, SHARES))


def write(distributions: Iterable[Distribution]) -> bytes:
    """The content of a Parquet file: one row per kind of sample, with its times as a list."""
    rows = list(distributions)
    columns = {name: pa.array([getattr(row, name) for row in rows]) for name in (*_KEYS, "n")}
    times = [row.microseconds.astype(np.float32) for row in rows]
    columns["microseconds"] = pa.array(times, type=pa.list_(pa.float32()))
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def read(folder: Path) -> Sequence[Distribution]:
    """The distributions of the run in ``folder``; none if it has no such file."""
    file = folder / DISTRIBUTIONS
    if not file.exists():
        return []
    rows = read_table(file).to_pylist()
    return [Distribution(**{**row, "microseconds": np.asarray(row["microseconds"], dtype=np.float64)}) for row in rows]


def read_table(file: Path, only: Mapping[str, str] | None = None) -> pa.Table:
    """The rows of a Parquet file of a run, whose columns get their present names.

    ``only`` keeps the rows with these values.
    """
    written = {COLUMNS.get(name, name): name for name in pq.read_schema(file).names}
    filters = [(written.get(name, name), "==", value) for name, value in (only or {}).items()] or None
    table = pq.read_table(file, filters=filters)
    return table.rename_columns([COLUMNS.get(name, name) for name in table.column_names])
