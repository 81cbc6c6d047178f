"""A chat server in a child process, started with the command that an operator would type."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from chatsys.settings import rows

STARTED = re.compile(r"Chat Server Started Successfully! .*(http://\S+)")
START_SECONDS = 60
STOP_SECONDS = 10


def clean_environment(**environ: str) -> dict[str, str]:
    """Return this process's environment without any setting of chatsys, and with ``environ``."""
    names = {row.name for row in rows()}
    return {name: text for name, text in os.environ.items() if name not in names} | environ


class Served:
    """One server. ``stdout`` holds the lines up to its start, ``stderr`` its log so far."""

    def __init__(
        self, folder: Path, *arguments: str, program: Sequence[str] = ("-m", "chatsys"), **environ: str
    ) -> None:
        self._log = folder / f"stderr-{len(list(folder.glob('stderr-*')))}"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "serve", "--host", "127.0.0.1", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env=clean_environment(**environ),
            )
        self.stdout: list[str] = []
        self.url = ""
        self._await_start()

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
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _await_start(self) -> None:
        """Read lines until the server prints its address or has ended."""
        assert self.process.stdout is not None
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        for line in self.process.stdout:
            self.stdout.append(line.rstrip("\n"))
            started = STARTED.search(line)
            if started:
                self.url = started[1]
                break
        else:
            self.process.wait()
        watchdog.cancel()
