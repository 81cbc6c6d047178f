"""Publish a run: copy its small record into the repository; its samples stay with the run.

A benchmark becomes ``reports/latest``, and the previous one ``reports/previous``. A comparison with other Socket.IO
servers becomes ``reports/peers``, a load test ``reports/load/<scenario>``. Git keeps less than 200 kB of a publication:
the record, the distributions, the report as Markdown and its pictures.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from chatsys.errors import OperatorError
from chatsys.reports.records import LATEST, LOAD, PEERS, PREVIOUS, content, load, present
from chatsys.results.files import write_atomically
from chatsys.results.run import DISTRIBUTIONS, RESULT, of_peers

_BUCKETS = 200
_SECONDS = ("samples.jsonl", "server.jsonl")


def publish(run: Path, reports: Path) -> Path:
    """Copy the small files of the run in the folder ``run`` to its published folder, and return that folder.

    Raises OperatorError if the run may not be quoted.
    """
    written = content(run / RESULT, run)
    record = present(msgspec.json.decode(written, type=dict[str, Any]), run / RESULT)
    if "repetitions" in record:
        return _load_test(run, record, reports)
    result = load(run)
    if result.partial or not result.valid:
        raise OperatorError(
            f"The run {result.id} is {'partial' if result.partial else 'INVALID'}.",
            hint="Run `make bench` on an otherwise idle machine.",
        )
    if of_peers(result):
        folder = _emptied(reports / PEERS, run)
    else:
        _keep_previous(reports, run)
        folder = _emptied(reports / LATEST, run)
    for file in (RESULT, DISTRIBUTIONS):
        if not (run / file).exists():
            raise OperatorError(f"{run} has no {file}.", hint="Run `chatsys bench` again with this version.")
        write_atomically(folder / file, (run / file).read_bytes())
    _pages(run, folder)
    return folder


def _load_test(run: Path, record: dict[str, Any], reports: Path) -> Path:
    if record["verdict"] != "VALID":
        raise OperatorError(f"The load test {record['id']} is {record['verdict']}.", hint="Publish a VALID one.")
    folder = _emptied(reports / LOAD / record["plan"]["scenario"], run)
    for repetition in record["repetitions"]:
        for figure in repetition["locust"].get("figures", ()):
            figure["histogram"] = thinned(figure["histogram"])
        for name in _SECONDS:
            lines = (run / repetition["folder"] / name).read_bytes().splitlines()
            write_atomically(folder / repetition["folder"] / name, b"".join(map(_without_metrics, lines)))
    write_atomically(folder / RESULT, msgspec.json.encode(record) + b"\n")
    _pages(run, folder)
    return folder


def thinned(histogram: list[list[float]]) -> list[list[float]]:
    """At most 200 pairs (value, count): each also counts the values since the pair before, so the sum is the same."""
    if len(histogram) <= _BUCKETS:
        return histogram
    values, counts = (np.array(column) for column in zip(*histogram, strict=True))
    reached = np.cumsum(counts)
    ends = np.unique(np.searchsorted(reached, np.linspace(0, 1, _BUCKETS + 1)[1:] * reached[-1]))
    pairs = zip(values[ends].tolist(), np.diff(reached[ends], prepend=0).tolist(), strict=True)
    return [[value, int(count)] for value, count in pairs]


def _without_metrics(line: bytes) -> bytes:
    seconds = msgspec.json.decode(line, type=dict[str, Any])
    seconds.pop("metrics", None)
    return msgspec.json.encode(seconds) + b"\n"


def _keep_previous(reports: Path, run: Path) -> None:
    """Keep the record and distributions of the last published run, so that runs can be compared."""
    latest = reports / LATEST
    if not (latest / RESULT).exists() or load(latest).id == load(run).id:
        return
    previous = _emptied(reports / PREVIOUS, run)
    for file in (RESULT, DISTRIBUTIONS):
        if (latest / file).exists():
            write_atomically(previous / file, (latest / file).read_bytes())


def _emptied(folder: Path, run: Path) -> Path:
    if folder.resolve() == run.resolve():
        raise OperatorError(f"{run} is published already.", hint="`chatsys bench list` shows all runs.")
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _pages(run: Path, folder: Path) -> None:
    for file in (*run.glob("*.svg"), *run.glob("report.md")):
        write_atomically(folder / file.name, file.read_bytes())
