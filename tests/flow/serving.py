"""A chat server in a child process, started with the command that an operator would type."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chatsys.settings import rows

START_SECONDS = 60
STOP_SECONDS = 10


def clean_environment(**environ: str) -> dict[str, str]:
    """Return this process's environment without any setting of chatsys, and with ``environ``."""
    names = {row.name for row in rows()}
    return {name: text for name, text in os.environ.items() if name not in names} | environ


def reported_url(process: subprocess.Popen[str], ready: Path) -> str:
    """Return the URL in a server's ready file once it is there; empty if the server has ended or takes too long."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and not ready.exists():
        if time.monotonic() > until:
            process.kill()
        time.sleep(0.02)
    return ready.read_text().strip() if ready.exists() else ""


class Served:
    """One server. ``stdout`` holds the lines that it has printed, ``stderr`` its log, both so far."""

    def __init__(
        self, folder: Path, *arguments: str, program: Sequence[str] = ("-m", "chatsys"), **environ: str
    ) -> None:
        number = len(list(folder.glob("stderr-*")))
        self._printed, self._log, self.ready = (folder / f"{name}-{number}" for name in ("stdout", "stderr", "ready"))
        with self._printed.open("wb") as printed, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "serve", "--host", "127.0.0.1", *arguments],
                stdout=printed,
                stderr=log,
                text=True,
                cwd=folder,
                env=clean_environment(**{"CHATSYS_READY_FILE": str(self.ready), **environ}),
            )
        self.url = reported_url(self.process, self.ready)

    @property
    def stdout(self) -> list[str]:
        return self._printed.read_text().splitlines()

    @property
    def stderr(self) -> str:
        return self._log.read_text()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit status. Raises TimeoutExpired if the server takes too long."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Kill it as a power cut would; harmless if it has ended."""
        self.process.kill()
        self.process.wait()
