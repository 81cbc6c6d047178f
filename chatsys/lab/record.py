"""The record of a run: result.json for people and programs, and beside it what was timed.

``result.json`` is the whole :class:`Result`; ``samples.parquet`` has one row a call: experiment, operation, contestant,
depth, size, round, microseconds; ``distributions.parquet`` some fifty quantiles of each kind of sample. Each file is
written whole or not at all.
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
    "DISTRIBUTIONS",
    "RESULT",
    "SAMPLES",
    "Baseline",
    "Count",
    "Fit",
    "Judgement",
    "OperationResult",
    "Point",
    "Ratio",
    "RatioTarget",
    "Result",
    "Sampled",
    "StatementPlan",
    "Survival",
    "Timing",
    "load",
    "load_samples",
    "save",
    "summed",
]  # fmt: skip
_TEXTS = ("experiment", "operation", "contestant", "depth")


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """The samples of one turn."""

    experiment: str
    operation: str
    contestant: str
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
    for turn in samples:
        if len(turn.microseconds):
            key = (turn.experiment, turn.operation, turn.contestant, turn.depth, turn.size)
            kinds.setdefault(key, []).append(turn.microseconds)
    return [distributions.distribution(key, np.concatenate(taken)) for key, taken in kinds.items()]


def load_samples(folder: Path) -> list[Sampled]:
    """Read the samples of a run, turn by turn."""
    table = pq.read_table(folder / SAMPLES)
    keys = [name for name in table.column_names if name != "microseconds"]
    turns: dict[tuple[Any, ...], list[float]] = {}
    columns = [table[name].to_pylist() for name in (*keys, "microseconds")]
    for row in zip(*columns, strict=True):
        turns.setdefault(row[:-1], []).append(row[-1])
    return [
        Sampled(**dict(zip(keys, turn, strict=True)), microseconds=np.array(values)) for turn, values in turns.items()
    ]


def _parquet(samples: list[Sampled]) -> bytes:
    lengths = [len(turn.microseconds) for turn in samples]

    def repeated(field: str, kind: pa.DataType) -> pa.Array:
        values = np.repeat(np.array([getattr(turn, field) for turn in samples], dtype=object), lengths)
        return pa.array(values, type=kind)

    text, whole = pa.string(), pa.int64()
    table = pa.table(
        {
            **{name: repeated(name, text).dictionary_encode() for name in _TEXTS},
            **{name: repeated(name, whole) for name in ("size", "round")},
            "microseconds": pa.array(
                np.concatenate([turn.microseconds for turn in samples] or [np.empty(0)]).astype(np.float32)
            ),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
