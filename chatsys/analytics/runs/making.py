"""The run that a notebook shows: a committed one or, with LIVE, a new one from the commands that an operator types."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile

from chatsys.analytics.runs.files import Kind, Run, find_run
from chatsys.errors import OperatorError

_RUNS = Path("../reports/runs")
"""The folder of unpublished runs, relative to the notebooks."""
_EACH = 5.0  # seconds between two lines of progress
_QUICK: dict[Kind, tuple[str, ...]] = {
    "bench": ("-m", "chatsys", "bench", "--profile", "quick", "--out"),
    "loadtest": (
        "-m", "chatsys", "loadtest", "--users", "50", "--minutes", "0.5", "--store", "postgresql", "--reports",
    ),
    "monitoring": ("-m", "chatsys.analytics.recording", "--seconds", "10"),
}  # fmt: skip
_WHOLE: dict[Kind, tuple[str, ...]] = {
    "bench": ("-m", "chatsys", "bench", "--profile", "standard", "--out"),
    "loadtest": ("-m", "chatsys", "loadtest", "--users", "500", "--minutes", "2", "--store", "both", "--reports"),
    "monitoring": ("-m", "chatsys.analytics.recording"),
}


def show_run(
    path: str | Path, kind: Kind, *, scenario: str | None = None, live: bool = False, quick: bool = True
) -> Run:
    """The run at ``path`` (see :func:`find_run`) or, with ``live``, a new one, which is small if ``quick``.

    Prints where the new run is stored, and every few seconds how long it has taken. An INVALID run is returned too.
    Raises OperatorError if the run could not be made.
    """
    if not live:
        return find_run(path, kind, scenario)
    folder = _RUNS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}-{kind}-live"
    command = [sys.executable, *(_QUICK if quick else _WHOLE)[kind], str(folder)]
    if scenario is not None:
        command += ["--scenario", scenario]
    print(f"Making a run with `{' '.join(command[1:])}`; it is stored in {folder}.")
    errors = _made(command)
    if not any(folder.glob("**/result.json")):
        last = (errors.strip().splitlines() or ["it printed no error"])[-1]
        raise OperatorError(f"The run could not be made: {last}", hint=f"Try `{' '.join(command[1:-1])} FOLDER`.")
    return find_run(folder, kind, scenario)


def _made(command: list[str]) -> str:
    """Run the command, show how long it takes, and return its standard error."""
    began = time.monotonic()
    with TemporaryFile("w+") as errors:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            while child.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_EACH)
                print(f"\r{time.monotonic() - began:.0f} s", end="", flush=True)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
        print()
        errors.seek(0)
        return errors.read()
