"""A run's folder -> a Run. Lab and analytics meet here, at result.json, and at no import."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from chatsys.errors import OperatorError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One run as its result.json tells it. ``kind`` is ``bench`` for the lab's, ``loadtest`` for a load test's.

    ``record`` is the whole file; ``reasons`` say why a run is not valid.
    """

    folder: Path
    kind: Literal["bench", "loadtest"]
    id: str
    created_at: pd.Timestamp
    is_valid: bool
    reasons: tuple[str, ...]
    record: dict[str, Any]

    @property
    def environment(self) -> dict[str, Any]:
        """What the run ran on."""
        return dict(self.record.get("environment", {}))

    @property
    def limitations(self) -> tuple[str, ...]:
        """What the run does not show."""
        return tuple(self.record.get("limitations", ()))

    def describe(self) -> str:
        """One sentence: which run, when, on what, and whether it may be quoted."""
        machine = self.environment
        processor = f"{machine.get('cpu', 'unknown processor')}, {machine.get('cpus', '?')} processors"
        verdict = "valid" if self.is_valid else f"NOT valid ({'; '.join(self.reasons) or 'no reason given'})"
        return f"Run {self.id} of {self.created_at:%Y-%m-%d %H:%M} UTC on {processor}: {verdict}."


def load_run(path: str | Path) -> Run:
    """Read a run: its folder, or the result.json in it. Raises OperatorError with what to do."""
    file = Path(path)
    file = file / "result.json" if file.suffix != ".json" else file
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OperatorError(
            f"No run at {file}: {error.strerror}.", hint="Make one with `chatsys bench` or `chatsys loadtest`."
        ) from error
    except ValueError as error:
        raise OperatorError(f"{file} is not JSON: {error}.", hint="Run `chatsys bench` again.") from error
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        found = record.get("schema_version") if isinstance(record, dict) else None
        raise OperatorError(
            f"{file} has schema_version {found}; this program reads {SCHEMA_VERSION}.",
            hint="Read it with the version of chatsys that wrote it, or make the run again.",
        )
    kind: Literal["bench", "loadtest"] = "loadtest" if "turns" in record else "bench"
    return Run(
        folder=file.parent,
        kind=kind,
        id=record["id"],
        created_at=pd.Timestamp(record["created_at"]).tz_convert("UTC"),
        is_valid=record["verdict"] == "VALID" if kind == "loadtest" else record["valid"] and not record.get("partial"),
        reasons=_reasons(record, kind),
        record=record,
    )


def needs(run: Run, kind: str) -> None:
    """Raise OperatorError if the run is of the other kind."""
    if run.kind != kind:
        raise OperatorError(
            f"{run.id} is a run of `chatsys {run.kind}`; this needs one of `chatsys {kind}`.",
            hint=f"Make one with `chatsys {kind}`.",
        )


def _reasons(record: dict[str, Any], kind: str) -> tuple[str, ...]:
    if kind == "loadtest":
        return tuple(reason for turn in record["turns"] for reason in turn["reasons"])
    return (*record.get("reasons", ()), *(["interrupted"] if record.get("partial") else []))
