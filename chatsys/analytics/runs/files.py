"""Read a run's folder. Analytics knows the lab by the format of result.json, not by imports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from chatsys.errors import OperatorError
from chatsys.reports.records import present

Kind = Literal["bench", "loadtest", "monitoring"]

_MAKE: dict[Kind, str] = {
    "bench": "`chatsys bench`",
    "loadtest": "`chatsys loadtest`",
    "monitoring": "`python -m chatsys.analytics.recording FOLDER`",
}


_DTYPES = dict.fromkeys((
    "action", "baseline", "data", "depth", "experiment", "guide", "in_full", "killed", "limit", "measure",
    "measured", "method", "metric", "name", "operation", "outcome", "over", "parts", "promise", "reasons", "room",
    "rule", "store", "subject", "unit", "verdict", "with_postgresql",
), "string") | dict.fromkeys((
    "acknowledged", "calls", "deviations", "failures", "largest", "missing", "samples", "size", "sizes", "smallest",
    "repetition", "users",
), "Int64")  # fmt: skip
"""Column -> dtype, in every frame; the others are float64."""


@dataclass(frozen=True)
class Run:
    """One run as its result.json describes it. ``kind`` is ``bench`` for the lab, ``loadtest`` for a load test,
    ``monitoring`` for a recording of a monitor.

    ``record`` is the whole file; ``reasons`` say why a run is not valid.
    """

    folder: Path
    kind: Kind
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
    def scenario(self) -> str | None:
        """What the users of a load test did."""
        found: str | None = self.record.get("plan", {}).get("scenario")
        return found

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
    """Read a run from its folder, or from the result.json in it. Raises OperatorError, which says what to do."""
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
    record = present(record if isinstance(record, dict) else {}, file)
    kind: Kind = "loadtest" if "repetitions" in record else "monitoring" if "frames" in record else "bench"
    return Run(
        folder=file.parent,
        kind=kind,
        id=record["id"],
        created_at=pd.Timestamp(record["created_at"]).tz_convert("UTC"),
        is_valid=record.get("valid", True) and not record.get("partial") and record.get("verdict", "VALID") == "VALID",
        reasons=_reasons(record, kind),
        record=record,
    )


def find_run(path: str | Path, kind: Kind, scenario: str | None = None) -> Run:
    """The run at ``path``, or one of this kind in the folders below it. Runs of ``scenario`` come first, then valid
    ones, then newer ones.

    Raises OperatorError if there is none.
    """
    folder = Path(path)
    if folder.suffix == ".json" or (folder / "result.json").exists():
        found = load_run(folder)
        needs(found, kind)
        return found
    below = [run for file in sorted(folder.glob("**/result.json")) if (run := _readable(file)) and run.kind == kind]
    if not below:
        raise OperatorError(f"There is no {kind} run in {folder}.", hint=f"Make one with {_MAKE[kind]}.")
    return max(below, key=lambda run: (run.scenario == scenario, run.is_valid, run.created_at))


def _readable(file: Path) -> Run | None:
    try:
        return load_run(file)
    except (OperatorError, KeyError):
        return None


def needs(run: Run, kind: Kind) -> None:
    """Raise OperatorError if the run is of another kind."""
    if run.kind != kind:
        raise OperatorError(
            f"{run.id} is a {run.kind} run; this needs a {kind} run.", hint=f"Make one with {_MAKE[kind]}."
        )


def typed(columns: Sequence[str], rows: Iterable[Any], **attributes: object) -> pd.DataFrame:
    """A frame with these columns of the rows, which are dicts or tuples. A key that a dict lacks is missing."""
    dtypes: dict[Any, Any] = {name: _DTYPES.get(name, "float64") for name in columns}
    frame = pd.DataFrame(list(rows), columns=list(columns)).astype(dtypes)
    labels: dict[Any, Any] = attributes
    frame.attrs = labels
    return frame


def timed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame by ``taken_at``, which it gets from the seconds since 1970 in ``time``."""
    taken: pd.Series[pd.Timestamp] = pd.to_datetime(frame.pop("time"), unit="s", utc=True).dt.as_unit("us")
    frame.insert(0, "taken_at", taken)
    return frame.sort_values("taken_at", ignore_index=True)


def beside(left: pd.DataFrame, right: pd.DataFrame, *, seconds: float) -> pd.DataFrame:
    """Each row of ``left`` with the nearest row of ``right`` within ``seconds``. Both are sorted by ``taken_at``."""
    tolerance = pd.Timedelta(seconds=seconds)
    return pd.merge_asof(left, right, on="taken_at", direction="nearest", tolerance=tolerance)


def _reasons(record: dict[str, Any], kind: str) -> tuple[str, ...]:
    if kind == "loadtest":
        return tuple(dict.fromkeys(reason for each in record["repetitions"] for reason in each["reasons"]))
    return (*record.get("reasons", ()), *(["interrupted"] if record.get("partial") else []))
