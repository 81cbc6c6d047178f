"""The errors of the embedded server, with hints that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatsys.errors import EmbeddedFailed


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn the operating system's errors into EmbeddedFailed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(home) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise not_allowed(home) from error
        raise EmbeddedFailed(
            f"The embedded PostgreSQL in {home} failed: {error}", hint="Name another folder: embedded://PATH."
        ) from error


def failure(output: str, home: Path) -> EmbeddedFailed:
    """The error for the output of a server that failed."""
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return disk_full(home)
    if "ermission denied" in output:
        return not_allowed(home)
    lines = [line for line in output.strip().splitlines() if "FATAL" in line or "rror:" in line or "ERROR" in line]
    last = (lines or output.strip().splitlines() or ["it printed nothing"])[-1]
    return EmbeddedFailed(f"The embedded PostgreSQL did not start: {last.strip()}", hint=f"See {home / 'log'}.")


def disk_full(home: Path) -> EmbeddedFailed:
    """The error for a full disk."""
    return EmbeddedFailed(
        f"The disk that holds {home} is full.", hint="Free some space, or name another folder: embedded://PATH."
    )


def not_allowed(home: Path) -> EmbeddedFailed:
    """The error for a missing permission."""
    return EmbeddedFailed(
        f"No permission to keep a database in {home}.",
        hint="Run as the folder's owner, or name another folder: embedded://PATH.",
    )
