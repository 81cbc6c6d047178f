"""An older revision in a Git worktree of its own, and a Python environment with its requirements.

Both are in the data folder. ``against/tree`` exists during a run; ``against/environments/<digest>`` is kept. The digest
covers the Python version and the requirements, so most revisions share one environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from chatsys.errors import LabBusy, OperatorError

_READY = "ready"
EXTRA = "bench"


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that can be run: ``python -m chatsys`` with ``tree`` on PYTHONPATH."""

    revision: str
    commit: str
    tree: Path
    python: Path


def project() -> Path:
    """The folder of the working tree that contains this program. Raises OperatorError for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "pyproject.toml").exists():
        raise OperatorError(
            "This chatsys was installed from a package, so there are no revisions to compare.",
            hint="Clone the repository, run `make .venv`, and run .venv/bin/chatsys there.",
        )
    return root


@contextmanager
def checked_out(revision: str, root: Path, folder: Path) -> Iterator[Checkout]:
    """Check ``revision`` of the repository at ``root`` out into ``folder``. The worktree is removed after the block.

    Raises OperatorError if the revision does not exist or can't be built, LabBusy if another run uses ``folder``.
    """
    commit = _commit(root, revision)
    folder.mkdir(parents=True, exist_ok=True)
    tree = folder / "tree"
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabBusy(hint="Wait until the other `chatsys bench --against` has ended.") from None
        _remove(root, tree)  # a killed run may have left it
        try:
            _git(root, "worktree", "add", "--quiet", "--detach", "--force", str(tree), commit)
            python = environment(tree, folder / "environments", revision)
            yield Checkout(revision=revision, commit=commit, tree=tree, python=python)
        finally:
            _remove(root, tree)


def environment(tree: Path, folder: Path, revision: str) -> Path:
    """The Python of an environment with the requirements of the project in ``tree``; created if ``folder`` lacks it.

    Raises OperatorError with the last error line of the tool that failed.
    """
    requirements = _requirements(tree, revision)
    constraints = tree / "constraints.txt"
    limits = constraints.read_text() if constraints.exists() else ""
    known = "\n".join((sys.version, platform.machine(), *requirements, limits))
    home = folder / hashlib.sha256(known.encode()).hexdigest()[:16]
    python = home / "bin" / "python"
    if (home / _READY).exists() and python.exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    limited = ["-c", str(constraints)] if limits else []
    base = str(Path(getattr(sys, "_base_executable", sys.executable)))
    if (uv := shutil.which("uv")) is not None:
        commands = [
            [uv, "venv", "--quiet", "--python", base, str(home)],
            [uv, "pip", "install", "--quiet", "--python", str(python), *limited, *requirements],
        ]
    else:
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        commands = [[base, "-m", "venv", str(home)], [*install, *limited, *requirements]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree)
        if done.returncode:
            raise _cannot_build(revision, _last_line(done.stderr or done.stdout))
    (home / _READY).touch()
    return python


def _requirements(tree: Path, revision: str) -> list[str]:
    """The requirements of the project, and those of its extra ``bench`` if it has one."""
    try:
        project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
        return sorted({*project["dependencies"], *_of_extra(project, EXTRA)})
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise _cannot_build(revision, f"pyproject.toml: {error}") from error


def _of_extra(project: dict[str, Any], extra: str) -> set[str]:
    """An extra's requirements, including those of the project's own extras that it refers to."""
    found = set()
    for requirement in project.get("optional-dependencies", {}).get(extra, []):
        if named := re.fullmatch(rf"{re.escape(project['name'])}\[([\w,\s-]+)\]", requirement):
            found |= {each for name in named[1].split(",") for each in _of_extra(project, name.strip())}
        else:
            found.add(requirement)
    return found


def _cannot_build(revision: str, why: str) -> OperatorError:
    return OperatorError(
        f"{revision} can't be built: {why.rstrip('.')}.",
        hint=f"Choose another revision, or try to install {revision} in a checkout of its own.",
    )


def _commit(root: Path, revision: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except OperatorError:
        raise OperatorError(
            f"There is no revision {revision} in {root}.",
            hint="`git log --oneline` lists the revisions. In a shallow clone, run `git fetch --unshallow` first.",
        ) from None


def _remove(root: Path, tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    _git(root, "worktree", "prune")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise OperatorError("Git is not installed.", hint="Install it: a comparison checks out a revision.") from error
    if done.returncode:
        raise OperatorError(f"git {arguments[0]} failed: {_last_line(done.stderr)}")
    return done.stdout.strip()


def _last_line(output: str) -> str:
    """The last error line of a program's output, or its last line: pip prints notices after its error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "fatal"))]
    return (errors or lines or ["it printed nothing"])[-1]
