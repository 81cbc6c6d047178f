"""comparison.json: what was compared, each round's figures, and the verdicts."""

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

SCHEMA_VERSION = 1
COMPARISON = "comparison.json"


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two sides. ``unmeasured`` says why its store was not asked, if it was not."""

    revision: str
    commit: str
    dirty: bool
    unmeasured: str = ""


class ComparisonRow(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one operation. ``before`` and ``after`` are medians over the rounds, in ``unit``.

    ``ratio`` is after over before, ``interval`` holds for all measures of the run together, ``p`` is corrected for all
    of them, and ``finds`` is the smallest ratio that the run would have found. ``counted``: the rounds' figures were
    compared as they are, without a test. ``rounds`` are the rounds' ratios.
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
    """One comparison."""

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
    """For each round the share of the processors that other programs used."""
    steal: list[float] = []
    rows: list[ComparisonRow] = []
    uncounted: str = ""
    """Why no instructions were counted, if none were."""
    limitations: list[str] = []

    def invalid(self, reason: str) -> None:
        """The comparison can't be believed, and why."""
        self.valid = False
        if reason not in self.reasons:
            self.reasons.append(reason)

    def finest(self) -> list[ComparisonRow]:
        """For each operation the measure that would find the smallest difference.

        Statements, pages and bytes of WAL are a part of what an operation costs: they decide only where they differ.
        """
        found: dict[str, ComparisonRow] = {}
        for row in self.rows:
            if not row.counted or row.measure == INSTRUCTIONS:
                found[row.operation] = min(found.get(row.operation, row), row, key=lambda each: each.finds)
        return list(found.values())

    def slower(self) -> list[ComparisonRow]:
        """What is slower."""
        return [row for row in self.rows if row.verdict == "slower"]


def save(comparison: CommitComparison, folder: Path) -> Path:
    """Write it into ``folder``; the file."""
    file = folder / COMPARISON
    write_record(file, comparison)
    return file


def load(file: Path) -> CommitComparison:
    """Read one. Raises OperatorError if it is not one that this program reads."""
    try:
        return decoded(file.read_bytes(), CommitComparison, file, SCHEMA_VERSION, "chatsys bench --against")
    except (OSError, msgspec.DecodeError) as error:
        raise OperatorError(f"{file} is not the record of a comparison: {error}.") from error
