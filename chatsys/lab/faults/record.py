"""The result file of a run of faults: versioned, and written after each injection, so that a run can go on later."""

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
"""Seconds within which service must be back."""
ANSWER_LIMIT = 5.0
"""Seconds within which a message is answered, one way or the other, whatever the database does."""
NOTICE_FACTOR = 1.5
"""How many times their calm p99 the others' may be while a fault concerns one client or one room."""
AT_ONCE = 3
"""Sites that are used at once by faults of which nothing is timed to the millisecond."""
STEP = 1.05
"""The ratio of two neighbours in a histogram of latencies."""
NOTICE_LEAST_MS = 10.0
"""A p99 below this is never called a deviation: the samples of one injection are few."""


class Injection(msgspec.Struct, kw_only=True):
    """One injection. Times in seconds, latencies of acknowledgements in milliseconds, ``load`` the machine's.

    ``others_calm`` and ``others`` (see :func:`histogram`) belong to those whom the fault does not concern, before and
    during it, and to everybody for a fault of the server, the database or the bus. ``recovery`` is None if service did
    not come back. ``growth_mib`` is by how much a server's resident memory grew from a fault's beginning to its end,
    at most. ``broken`` says why the fault itself could not be injected as it was meant.
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
    """One run of traffic with several injections of one fault, and what the history of the whole run shows.

    ``broken`` says what the traffic could not do: join before the first injection, or finish after the last one.
    """

    messages: int
    acknowledged: int
    injections: list[Injection]
    refusals: dict[str, int] = {}
    findings: list[Deviation] = []
    broken: str = ""


class FaultKind(msgspec.Struct, kw_only=True):
    """All runs with one fault, or why it was ``not_run``."""

    name: str
    concerns: str
    promise: str
    not_run: str = ""
    runs: list[FaultRun] = []

    @property
    def injections(self) -> list[Injection]:
        """Those of all runs."""
        return [injection for run in self.runs for injection in run.injections]


class Caught(msgspec.Struct, kw_only=True):
    """A mechanism that was taken away, the fault that should notice, and what it noticed; empty if nothing.

    ``intact`` is what fell short under the same fault with the mechanism in its place; empty if nothing did.
    """

    mechanism: str
    fault: str
    noticed: str
    intact: str = ""


class Fuzzed(msgspec.Struct, kw_only=True):
    """Nonsense of one kind: cases, wrong answers, tracebacks, growth in MiB, and the sentinel's slowest answer.

    ``commit`` is the program's; empty for that of the run.
    """

    kind: str
    cases: int
    errors: int
    tracebacks: int
    growth_mib: float
    sentinel_ms: float
    commit: str = ""


class FaultsResult(msgspec.Struct, kw_only=True):
    """One run."""

    created_at: str
    profile: str
    seed: int
    environment: dict[str, Any]
    schema_version: int = SCHEMA_VERSION
    kinds: list[FaultKind] = []
    mutations: list[Caught] = []
    fuzzing: list[Fuzzed] = []

    def kind(self, name: str) -> FaultKind | None:
        """The kind of that name."""
        return next((kind for kind in self.kinds if kind.name == name), None)


def histogram(milliseconds: Iterable[float]) -> dict[int, int]:
    """How many latencies there are of about ``STEP`` ** key milliseconds, by key."""
    return dict(sorted(Counter(round(math.log(max(each, 0.01), STEP)) for each in milliseconds).items()))


def p99(histograms: Iterable[dict[int, int]]) -> float:
    """The 99th percentile of several histograms together, in milliseconds; 0 for none."""
    together: Counter[int] = Counter()
    for counts in histograms:
        together.update(counts)
    left = together.total() * 0.99
    for key in sorted(together):
        left -= together[key]
        if left <= 0:
            return float(STEP**key)
    return 0.0


def save(result: FaultsResult, folder: Path) -> None:
    """Write the result into ``folder``, whole or not at all."""
    write_atomically(folder / RESULT, msgspec.json.encode(result) + b"\n")


def load(folder: Path) -> FaultsResult | None:
    """The result in ``folder``; None if there is none. Raises OperatorError if it is another version's, or damaged."""
    file = folder / RESULT
    if not file.exists():
        return None
    try:
        result = msgspec.json.decode(file.read_bytes(), type=FaultsResult)
    except msgspec.DecodeError as error:
        raise OperatorError(f"{file} is not the record of a run of faults: {error}.", hint="Move it away.") from error
    if result.schema_version != SCHEMA_VERSION:
        raise OperatorError(f"{file} has schema_version {result.schema_version}; this is {SCHEMA_VERSION}.")
    return result
