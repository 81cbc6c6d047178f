"""comparison.json: what was compared, the figures of each round, and the verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.against.measures import INSTRUCTIONS
from chatsys.lab.against.verdicts import Verdict
from chatsys.reports.records import decoded
from chatsys.results.files import write_record
from chatsys.results.run import Interval
from chatsys.results.upgrades import SCHEMA_VERSION

COMPARISON = "comparison.json"


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two sides. ``unmeasured`` says why its store was not measured; empty if it was."""

    revision: str
    commit: str
    dirty: bool
    unmeasured: str = ""


class ComparisonRow(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one operation. ``before`` and ``after`` are medians over the rounds, in ``unit``.

    ``ratio`` is after / before. ``interval`` and ``p`` are corrected for all measures of the run. ``finds`` is the
    smallest ratio that the run would have detected. ``counted`` means that the figures were compared exactly, without
    a statistical test. ``rounds`` are the ratios of the rounds.
    """

    operation: str
    measure: str
    unit: str
    before: float
    after: float
    ratio: float
    interval: Interval
    p: float
    finds: float
    verdict: Verdict
    counted: bool
    rounds: tuple[float, ...]


class CommitComparison(msgspec.Struct, kw_only=True):
    """The whole record of a comparison."""

    id: str
    created_at: str
    before: Commit
    after: Commit
    profile: str
    seed: int
    environment: dict[str, Any]
    parameters: dict[str, Any]
    schema_version: int = SCHEMA_VERSION
    finished_at: str | None = None
    seconds: float = 0
    valid: bool = True
    reasons: list[str] = []
    foreign: list[float] = []
    """The share of the processors that other programs used, for each round."""
    steal: list[float] = []
    """The share of the processors that the hypervisor took, for each round."""
    rows: list[ComparisonRow] = []
    uncounted: str = ""
    """Why no instructions were counted; empty if they were."""
    limitations: list[str] = []

    def invalid(self, reason: str) -> None:
        """Mark the comparison as invalid and note the reason."""
        self.valid = False
        if reason not in self.reasons:
            self.reasons.append(reason)

    def finest(self) -> list[ComparisonRow]:
        """For each operation the measure that detects the smallest difference.

        Statements, pages and WAL bytes are left out: each is only a part of what an operation costs.
        """
        found: dict[str, ComparisonRow] = {}
        for row in self.rows:
            if not row.counted or row.measure == INSTRUCTIONS:
                found[row.operation] = min(found.get(row.operation, row), row, key=lambda each: each.finds)
        return list(found.values())

    def slower(self) -> list[ComparisonRow]:
        """The rows whose verdict is "slower"."""
        return [row for row in self.rows if row.verdict == "slower"]


def save(comparison: CommitComparison, folder: Path) -> Path:
    """Write the record into ``folder``, and return the file."""
    file = folder / COMPARISON
    write_record(file, comparison)
    return file


def load(file: Path) -> CommitComparison:
    """Read a record. Raises OperatorError if this program can't read it."""
    try:
        return decoded(file.read_bytes(), CommitComparison, file)
    except (OSError, msgspec.DecodeError) as error:
        raise OperatorError(f"{file} is not the record of a comparison: {error}.") from error
