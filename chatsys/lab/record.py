"""The record of a run: result.json, and two files with the samples.

``result.json`` is the whole :class:`Result`. ``samples.parquet`` has one row per call: experiment, operation,
subject, depth, size, round, microseconds. ``distributions.parquet`` has about fifty quantiles of each kind of sample.
Each file is written atomically.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chatsys.lab.statistics import Samples
from chatsys.reports.records import load
from chatsys.results import distributions
from chatsys.results.distributions import Distribution
from chatsys.results.files import write_atomically, write_record
from chatsys.results.run import (
    DISTRIBUTIONS,
    RESULT,
    SAMPLES,
    Baseline,
    Count,
    Fit,
    Judgement,
    OperationResult,
    Point,
    Ratio,
    RatioTarget,
    Result,
    StatementPlan,
    Survival,
    Timing,
)

__all__ = [
    "DISTRIBUTIONS", "RESULT", "SAMPLES", "Baseline", "Count", "Fit", "Judgement", "OperationResult", "Point", "Ratio",
    "RatioTarget", "Result", "Sampled", "StatementPlan", "Survival", "Timing", "load", "load_samples", "save", "summed",
]  # fmt: skip
_TEXTS = ("experiment", "operation", "subject", "depth")


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """The samples of one repetition."""

    experiment: str
    operation: str
    subject: str
    depth: str
    size: int
    round: int
    microseconds: Samples


def save(result: Result, samples: list[Sampled], folder: Path) -> None:
    """Write the three files into ``folder``."""
    write_atomically(folder / SAMPLES, _parquet(samples))
    write_atomically(folder / DISTRIBUTIONS, distributions.write(summed(samples)))
    write_record(folder / RESULT, result)


def summed(samples: list[Sampled]) -> list[Distribution]:
    """The distribution of each kind of sample, over all rounds."""
    kinds: dict[distributions.Key, list[Samples]] = {}
    for each in samples:
        if len(each.microseconds):
            key = (each.experiment, each.operation, each.subject, each.depth, each.size)
            kinds.setdefault(key, []).append(each.microseconds)
    return [distributions.distribution(key, np.concatenate(taken)) for key, taken in kinds.items()]


def load_samples(folder: Path) -> list[Sampled]:
    """Read the samples of a run, one object per repetition."""
    table = distributions.read_table(folder / SAMPLES)
    keys = [name for name in table.column_names if name != "microseconds"]
    repetitions: dict[tuple[Any, ...], list[float]] = {}
    columns = [table[name].to_pylist() for name in (*keys, "microseconds")]
    for row in zip(*columns, strict=True):
        repetitions.setdefault(row[:-1], []).append(row[-1])
    return [
        Sampled(**dict(zip(keys, key, strict=True)), microseconds=np.array(values))
        for key, values in repetitions.items()
    ]


def _parquet(samples: list[Sampled]) -> bytes:
    lengths = [len(each.microseconds) for each in samples]

    def repeated(field: str, kind: pa.DataType) -> pa.Array:
        values = np.repeat(np.array([getattr(each, field) for each in samples], dtype=object), lengths)
        return pa.array(values, type=kind)

    text, whole = pa.string(), pa.int64()
    table = pa.table(
        {
            **{name: repeated(name, text).dictionary_encode() for name in _TEXTS},
            **{name: repeated(name, whole) for name in ("size", "round")},
            "microseconds": pa.array(
                np.concatenate([each.microseconds for each in samples] or [np.empty(0)]).astype(np.float32)
            ),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
