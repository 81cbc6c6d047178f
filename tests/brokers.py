"""Redis and NATS as processes of their own, for the tests of the bus."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Process:
    """A broker's process, which can be ended and started again on its port."""

    def __init__(self, command: list[str], ready: str) -> None:
        self._command = command
        self._ready = ready
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if self._ready in line:
                return
        raise AssertionError(f"{self._command[0]} did not start")

    def stop(self, *, kill: bool = False) -> None:
        (self.process.kill if kill else self.process.terminate)()
        self.process.communicate()


def redis_server(port: int, folder: Path, *more: str) -> Process:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *more]
    return Process(command, "Ready to accept connections")


def nats_server(port: int, *more: str) -> Process:
    return Process(["nats-server", "-a", "127.0.0.1", "-p", str(port), *more], "Server is ready")
