"""The distribution of each kind of sample as some fifty quantiles: enough for any picture, at a hundredth of the size.

A run keeps all its samples; a published run keeps only their distributions.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from chatsys.results.run import DISTRIBUTIONS

SHARES: tuple[float, ...] = (*(round(0.02 * step, 2) for step in range(48)), 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)
"""Shares of the samples, from the fastest to the slowest."""
_KEYS = ("experiment", "operation", "contestant", "depth", "size")

Key = tuple[str, str, str, str, int]
"""Experiment, operation, contestant, depth, size."""
Values = npt.NDArray[np.float64]


class Distribution(msgspec.Struct, frozen=True):
    """The distribution of ``n`` samples. ``microseconds`` are their quantiles at ``SHARES``."""

    experiment: str
    operation: str
    contestant: str
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
    rows = pq.read_table(file).to_pylist()
    return [Distribution(**{**row, "microseconds": np.asarray(row["microseconds"], dtype=np.float64)}) for row in rows]
