"""The runs below a folder: benchmarks, load tests and recordings of a monitor, published or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from chatsys.errors import OperatorError
from chatsys.results.capacity import answer
from chatsys.results.names import store
from chatsys.results.run import RESULT, Result, of_peers
from chatsys.results.upgrades import upgraded

T = TypeVar("T")
LATEST, PREVIOUS, PEERS, LOAD, RUNS = "latest", "previous", "peers", "load", "runs"
"""Folders below reports/: the published benchmark, the previous one, the comparison with other servers, load tests, and
unpublished runs."""
BENCH, LOADTEST, RECORDING, COMPARISON = "benchmark", "load test", "monitoring", "other servers"


class Entry(NamedTuple):
    """One run in a list. ``what`` is its profile or scenario; only a benchmark has a ``result``."""

    folder: Path
    kind: str
    id: str
    created_at: str
    what: str
    state: str
    is_published: bool
    result: Result | None = None


class _Head(msgspec.Struct):
    """The fields that tell the kinds of records apart."""

    id: str
    created_at: str
    plan: dict[str, Any] = {}
    repetitions: list[dict[str, Any]] | None = None
    verdict: str = ""
    frames: dict[str, Any] | None = None


def load(path: Path) -> Result:
    """Read a benchmark's record from a result.json or its folder. Raises OperatorError if there is none."""
    file = path / RESULT if path.is_dir() else path
    try:
        return decoded(content(file, path), Result, file)
    except msgspec.DecodeError as error:
        raise OperatorError(
            f"{file} is not the record of a benchmark run: {error}.", hint="`chatsys bench list` shows all runs."
        ) from error


def content(file: Path, run: Path) -> bytes:
    """The content of ``file``, the record of ``run``. Raises OperatorError if it can't be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        hint = "`chatsys bench list` shows all runs, and `chatsys bench` makes one."
        raise OperatorError(f"No run at {run}: {error.strerror}.", hint=hint) from error


class _Version(msgspec.Struct):
    schema_version: int


def decoded(written: bytes, kind: type[T], file: Path) -> T:
    """The record of ``kind`` in ``file``, which any version so far may have written.

    Raises msgspec.DecodeError if it is not such a record, OperatorError if a newer version wrote it.
    """
    record = msgspec.json.decode(written, type=dict[str, Any])
    msgspec.convert(record, _Version)
    return msgspec.convert(present(record, file), kind)


def present(record: dict[str, Any], file: Path) -> dict[str, Any]:
    """The content of ``file`` with the names of this version. Raises OperatorError if a newer version wrote it."""
    try:
        return upgraded(record)
    except ValueError as error:
        raise OperatorError(
            f"{file} has {error}.", hint="Read it with the version of chatsys that wrote it, or make the run again."
        ) from error


def entries(reports: Path) -> list[Entry]:
    """All runs below ``reports``, newest first. A published run is listed once, in its published folder."""
    found: dict[str, Entry] = {}
    for file in sorted(reports.rglob(RESULT)):
        entry = _entry(file, reports)
        if entry.id not in found or entry.is_published:
            found[entry.id] = entry
    return sorted(found.values(), key=lambda entry: entry.created_at, reverse=True)


def benchmarks(reports: Path) -> list[tuple[Path, Result]]:
    """All benchmarks below ``reports`` with their folders, newest first."""
    return [(entry.folder, entry.result) for entry in entries(reports) if entry.result is not None]


def run_folder(reports: Path, result: Result) -> Path:
    """The folder for a new run: ``runs/<date>T<time>-<profile>-<commit>``."""
    moment = result.created_at[:19].replace(":", "")
    commit = str(result.environment.get("commit") or "no-commit")[:10]
    return reports / RUNS / f"{moment}-{result.profile}-{commit}"


def newest(reports: Path) -> Path:
    """The folder of the newest benchmark. Raises OperatorError if there is none."""
    for folder, _ in benchmarks(reports):
        return folder
    raise OperatorError(f"There is no benchmark below {reports}.", hint="`chatsys bench` makes one.")


def _entry(file: Path, reports: Path) -> Entry:
    try:
        head = decoded(file.read_bytes(), _Head, file)
    except (msgspec.DecodeError, OSError) as error:
        raise OperatorError(f"{file} is not the record of a run: {error}.", hint=f"Remove {file.parent}.") from error
    path = file.parent.relative_to(reports).parts
    folder, name, created, published = file.parent, head.id, head.created_at, bool(path) and path[0] != RUNS
    if head.repetitions is not None:
        what = f"{head.plan.get('scenario', '')}, {_load(head)}"
        return Entry(folder, LOADTEST, name, created, what, head.verdict, published)
    if head.frames is not None:
        return Entry(folder, RECORDING, name, created, "", "", published)
    result = load(file)
    if of_peers(result):
        return Entry(folder, COMPARISON, name, created, result.profile, state(result), published)
    return Entry(folder, BENCH, name, created, result.profile, state(result), published, result)


def _load(head: _Head) -> str:
    """The load of a load test; for a capacity search, its answer."""
    if head.plan.get("scenario") != "capacity":
        stores = " and ".join(dict.fromkeys(store(each["store"]) for each in head.repetitions or ()))
        return f"{head.plan.get('users', 0):,} users on {stores}"
    found = [(each["store"], answer(each["locust"].get("steps", ()))) for each in head.repetitions or ()]
    return "; ".join(f"{store(name)}: {each.words}" for name, each in found)


def state(result: Result) -> str:
    """The state of a benchmark: ``valid`` if it may be quoted."""
    return "partial" if result.partial else "valid" if result.valid else "INVALID: " + "; ".join(result.reasons)
