"""The record of a run: result.json for people and programs, and the raw samples beside it.

``result.json`` is the whole :class:`Result`; ``samples.parquet`` has one row a call: experiment, operation, contestant,
depth, size, round, microseconds. Both are written whole or not at all.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chatsys.errors import OperatorError
from chatsys.lab.statistics import Interval, Samples
from chatsys.results.files import write_atomically

SCHEMA_VERSION = 1
_TEXTS = ("experiment", "operation", "contestant", "depth")
RESULT, SAMPLES = "result.json", "samples.parquet"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation on one store (``memory`` or ``postgresql``) at one depth. Times in microseconds.

    Depths: ``store`` a call of the store, ``http`` a request, ``socket`` an event and its acknowledgement, and each
    with `` x64`` added: 64 of them at a time. ``interval`` is that of the median.
    """

    operation: str
    store: str
    depth: str
    n: int
    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float
    interval: Interval


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """The same work with nothing of chatsys around it, and ``ratio``: how many times the floor chatsys takes."""

    operation: str
    store: str
    kind: str
    p50_us: float
    ratio: float
    interval: Interval


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """PostgreSQL's median over memory's in this run, and what the rank test says of PostgreSQL."""

    operation: str
    depth: str
    ratio: float
    interval: Interval
    verdict: str
    p: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value of a curve: ``subject`` at ``x`` has ``metric`` = ``value``; the experiment says what x is.

    ``rounds`` are the values of the single rounds where there are several. ``lower_bound``: the load generator was
    saturated, so that the subject could have done more.
    """

    experiment: str
    subject: str
    x: float
    metric: str
    value: float
    unit: str
    interval: Interval | None = None
    n: int = 1
    rounds: tuple[float, ...] = ()
    lower_bound: bool = False


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio of two things that took turns in this run, and what it should reach: ``bound``, if there is a mark.

    ``interval`` is None where there was one round. ``lower_bound``: the ratio is at least that.
    """

    what: str
    ratio: float
    interval: Interval | None
    bound: float | None
    at_least: bool
    verdict: str
    rounds: int
    lower_bound: bool = False


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Wall time that a part of the run took."""

    what: str
    seconds: float


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How an operation's median grows with size: the exponent, its interval, and over which sizes."""

    operation: str
    store: str
    exponent: float
    interval: Interval
    sizes: tuple[int, ...]


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Something counted, that no noise touches: ``value`` of ``metric`` for ``subject`` (an operation, a scenario)."""

    subject: str
    metric: str
    value: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """EXPLAIN (ANALYZE, BUFFERS) of a production statement at a size."""

    statement: str
    size: int
    lines: tuple[str, ...]


class Survival(msgspec.Struct, frozen=True, kw_only=True):
    """What was left after a kill in mid-traffic: messages acknowledged, and those of them missing afterwards."""

    store: str
    killed: str
    acknowledged: int
    missing: int


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A promise of the guide, the rule it was judged by, what was measured, and the verdict."""

    claim: str
    promise: str
    rule: str
    measured: str
    verdict: str
    samples: str


class Result(msgspec.Struct, kw_only=True):
    """One run."""

    id: str
    created_at: str
    profile: str
    seed: int
    environment: dict[str, Any]
    parameters: dict[str, Any]
    schema_version: int = SCHEMA_VERSION
    finished_at: str | None = None
    partial: bool = False
    valid: bool = True
    reasons: list[str] = []
    operations: list[Operation] = []
    ratios: list[Ratio] = []
    floors: list[Floor] = []
    marks: list[Mark] = []
    points: list[Point] = []
    fits: list[Fit] = []
    counts: list[Count] = []
    plans: list[Plan] = []
    persistence: list[Survival] = []
    claims: list[Judgement] = []
    timings: list[Timing] = []
    limitations: list[str] = []

    def limited(self, sentence: str) -> None:
        """Something that the run does not show."""
        if sentence not in self.limitations:
            self.limitations.append(sentence)

    def invalid(self, reason: str) -> None:
        """The run can't be believed, and why."""
        self.valid = False
        if reason not in self.reasons:
            self.reasons.append(reason)


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
    """Write both files into ``folder``."""
    write_atomically(folder / SAMPLES, _parquet(samples))
    encoded = msgspec.json.format(msgspec.json.encode(result), indent=1)
    write_atomically(folder / RESULT, encoded + b"\n")


def load(path: Path) -> Result:
    """Read a record: a result.json or the folder it lies in. Raises OperatorError with what to do."""
    file = path / RESULT if path.is_dir() else path
    try:
        content = file.read_bytes()
    except OSError as error:
        raise OperatorError(
            f"No run at {path}: {error.strerror}.",
            hint="`chatsys bench list` shows the runs there are, and `chatsys bench` makes one.",
        ) from error
    try:
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            raise OperatorError(
                f"{file} has schema_version {version}; this program reads {SCHEMA_VERSION}.",
                hint="Read it with the version of chatsys that wrote it, or run `chatsys bench` again.",
            )
        return msgspec.json.decode(content, type=Result)
    except msgspec.DecodeError as error:
        raise OperatorError(
            f"{file} is not the record of a benchmark run: {error}.",
            hint="`chatsys bench list` shows the runs there are.",
        ) from error


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


class _Version(msgspec.Struct):
    schema_version: int


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
