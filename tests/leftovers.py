"""What a command must not leave behind: processes, temporary files, shared memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil


def processes_in(folder: Path) -> list[str]:
    """The command lines of those that name the folder or work in it."""
    found = []
    for process in psutil.process_iter():
        try:
            command, place = " ".join(process.cmdline()), process.cwd()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if str(folder) in command or Path(place).is_relative_to(folder):
            found.append(command)
    return found


def assert_nobody_works_in(folder: Path) -> None:
    """No process works there; what is ending has ten seconds."""
    deadline = time.monotonic() + 10
    while processes_in(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_in(folder) == []


def assert_gone(folder: Path) -> None:
    """Nothing lies in the folder, and nobody works there."""
    assert_nobody_works_in(folder)
    assert os.listdir(folder) == []
