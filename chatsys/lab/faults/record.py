"""The result file of a run of faults. It is versioned, and saved often, so that an interrupted run can continue."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from chatsys.errors import OperatorError
from chatsys.results.files import write_atomically
from chatsys.results.history import Deviation

SCHEMA_VERSION = 1
RESULT = "faults.json"
RECOVERY_LIMIT = 5.0
"""Seconds within which service must be back after a fault."""
ANSWER_LIMIT = 5.0
"""Seconds within which a message must be acknowledged or refused, whatever the database does."""
NOTICE_FACTOR = 1.5
"""The others' p99 during a fault of one client or one room may be this many times their p99 before it."""
CONCURRENT_SITES = 3
"""Sites that run at the same time for faults whose latencies are not judged."""
STEP = 1.05
"""The ratio of two neighbouring bins in a histogram of latencies."""
NOTICE_MIN_MS = 10.0
"""A p99 below this is never a deviation, because one injection yields few samples."""


class Injection(msgspec.Struct, kw_only=True):
    """One injection. Times are in seconds, latencies of acknowledgements in milliseconds.

    ``load`` is the machine's load average before the injection. ``thrown_out`` counts the connections that clients lost
    to servers that the fault did not end. ``others_calm`` and ``others`` (see :func:`histogram`) are the latencies
    before and during the fault. They are those of the clients that the fault does not concern, or of all clients if it
    concerns the server, the database or the bus. ``recovery`` is None if service did not come back. ``growth_mib`` is
    the largest growth of a server's resident memory during the fault. ``broken`` says why the fault could not be
    injected as intended.
    """

    seed: int
    seconds: float
    load: float
    thrown_out: int
    recovery: float | None
    slowest_answer: float
    others_calm: dict[int, int]
    others: dict[int, int]
    growth_mib: float = 0.0
    broken: str = ""


class FaultRun(msgspec.Struct, kw_only=True):
    """One run of traffic with several injections of one fault, and the deviations found in its whole history.

    ``broken`` is set if the clients could not join before the first injection, or not finish after the last one.
    """

    messages: int
    acknowledged: int
    injections: list[Injection]
    refusals: dict[str, int] = {}
    findings: list[Deviation] = []
    broken: str = ""


class FaultKind(msgspec.Struct, kw_only=True):
    """All runs with one fault, or the reason why it was ``not_run``."""

    name: str
    concerns: str
    promise: str
    not_run: str = ""
    runs: list[FaultRun] = []

    @property
    def injections(self) -> list[Injection]:
        """The injections of all runs."""
        return [injection for run in self.runs for injection in run.injections]


class Caught(msgspec.Struct, kw_only=True):
    """A mechanism that was removed, the fault that should detect it, and what the fault noticed (empty if nothing).

    ``intact`` lists the promises that the same fault breaks with the mechanism in place (empty if none).
    """

    mechanism: str
    fault: str
    noticed: str
    intact: str = ""


class Fuzzed(msgspec.Struct, kw_only=True):
    """Malformed input of one kind: cases, wrong answers, tracebacks, and the growth of the server's memory.

    ``sentinel_ms`` is the slowest answer to a client that chats meanwhile. ``commit`` is the server's commit; it is
    empty if it is that of the run.
    """

    kind: str
    cases: int
    errors: int
    tracebacks: int
    growth_mib: float
    sentinel_ms: float
    commit: str = ""


class FaultsResult(msgspec.Struct, kw_only=True):
    """One run of the suite."""

    created_at: str
    profile: str
    seed: int
    environment: dict[str, Any]
    schema_version: int = SCHEMA_VERSION
    kinds: list[FaultKind] = []
    mutations: list[Caught] = []
    fuzzing: list[Fuzzed] = []

    def kind(self, name: str) -> FaultKind | None:
        """The kind of that name; None if there is none."""
        return next((kind for kind in self.kinds if kind.name == name), None)


def histogram(milliseconds: Iterable[float]) -> dict[int, int]:
    """Count latencies in logarithmic bins: the bin ``key`` holds those of about ``STEP`` ** key milliseconds."""
    return dict(sorted(Counter(round(math.log(max(each, 0.01), STEP)) for each in milliseconds).items()))


def p99(histograms: Iterable[dict[int, int]]) -> float:
    """The 99th percentile of several histograms together, in milliseconds; 0 if they are empty."""
    total: Counter[int] = Counter()
    for counts in histograms:
        total.update(counts)
    left = total.total() * 0.99
    for key in sorted(total):
        left -= total[key]
        if left <= 0:
            return float(STEP**key)
    return 0.0


def save(result: FaultsResult, folder: Path) -> None:
    """Write the result into ``folder``, atomically."""
    write_atomically(folder / RESULT, msgspec.json.encode(result) + b"\n")


def load(folder: Path) -> FaultsResult | None:
    """The result in ``folder``; None if there is none. Raises OperatorError if it is damaged or of another version."""
    file = folder / RESULT
    if not file.exists():
        return None
    try:
        result = msgspec.json.decode(file.read_bytes(), type=FaultsResult)
    except msgspec.DecodeError as error:
        raise OperatorError(f"{file} is not the record of a run of faults: {error}.", hint="Move it away.") from error
    if result.schema_version != SCHEMA_VERSION:
        raise OperatorError(f"{file} has schema_version {result.schema_version}; this chatsys reads {SCHEMA_VERSION}.")
    return result
