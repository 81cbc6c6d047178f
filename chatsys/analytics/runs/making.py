"""The run that a notebook shows: a committed one, or with LIVE one made now by the commands an operator types."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from chatsys.analytics.runs.files import Kind, Run, find_run
from chatsys.errors import OperatorError

_QUICK: dict[Kind, tuple[str, ...]] = {
    "bench": ("-m", "chatsys", "bench", "--profile", "quick", "--out"),
    "loadtest": ("-m", "chatsys", "loadtest", "--users", "50", "--minutes", "0.5", "--store", "postgres", "--reports"),
    "monitoring": ("-m", "chatsys.analytics.recording", "--seconds", "10"),
}
_WHOLE: dict[Kind, tuple[str, ...]] = {
    "bench": ("-m", "chatsys", "bench", "--profile", "standard", "--out"),
    "loadtest": ("-m", "chatsys", "loadtest", "--users", "500", "--minutes", "2", "--store", "both", "--reports"),
    "monitoring": (
        "-m",
        "chatsys.analytics.recording",
    ),
}


def show_run(
    path: str | Path, kind: Kind, *, scenario: str | None = None, live: bool = False, quick: bool = True
) -> Run:
    """The run at ``path`` (see :func:`find_run`); with ``live`` one made now, a small one if ``quick``.

    A run that turned out INVALID is shown as such. Raises OperatorError if it could not be made.
    """
    if not live:
        return find_run(path, kind, scenario)
    folder = Path(tempfile.mkdtemp(prefix=f"chatsys-{kind}-"))
    command = [sys.executable, *(_QUICK if quick else _WHOLE)[kind], str(folder)]
    if scenario is not None:
        command += ["--scenario", scenario]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not any(folder.glob("**/result.json")):
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OperatorError(f"The run could not be made: {said}", hint=f"Try `{' '.join(command[1:-1])} FOLDER`.")
    return find_run(folder, kind, scenario)
