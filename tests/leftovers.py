"""Things that a command must not leave behind: processes, temporary files, shared memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of processes that name the folder or work in it."""
    found = []
    for process in psutil.process_iter():
        try:
            command, working = " ".join(process.cmdline()), process.cwd()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if str(folder) in command or Path(working).is_relative_to(folder):
            found.append(command)
    return found


def assert_nobody_works_in(folder: Path) -> None:
    """Check that no process works there; processes that are ending have ten seconds."""
    deadline = time.monotonic() + 10
    while processes_in(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_in(folder) == []


def assert_gone(folder: Path) -> None:
    """Check that the folder is empty and that no process works there."""
    assert_nobody_works_in(folder)
    assert os.listdir(folder) == []
