"""Redis, NATS and PostgreSQL as processes that a test may stop, kill and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import psycopg

from chatsys.database.embedded import embedded_server

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


class Process:
    """A broker's process, which a test can end and start again on the same port."""

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

    def suspend(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class Postgres:
    """A PostgreSQL server for one test on a TCP port, with the same interface."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url = f"postgresql://chatsys@127.0.0.1:{port}/chatsys?sslmode=disable"
        self._folder = folder
        self._settings = {"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off"}
        self._running: AbstractContextManager[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, also after it was killed: its user starts it again within a second."""
        if self._running is None:
            self._running = embedded_server(self._folder, settings=self._settings)
            self._running.__enter__()
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "PostgreSQL did not start"
                time.sleep(0.05)
            else:
                return

    def stop(self, *, kill: bool = False) -> None:
        if kill:
            postmaster = self._postmaster()
            postmaster.kill()
            postmaster.wait()
        elif self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None

    def suspend(self) -> None:
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        for process in self._processes():
            process.resume()

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]))

    def _processes(self) -> list[psutil.Process]:
        postmaster = self._postmaster()
        return [postmaster, *postmaster.children()]


def redis_server(port: int, folder: Path, *more: str) -> Process:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *more]
    return Process(command, "Ready to accept connections")


def nats_server(port: int, *more: str) -> Process:
    program = shutil.which("nats-server", path=PATH)
    assert program, "these tests need a NATS server: apt-get install nats-server"
    return Process([program, "-a", "127.0.0.1", "-p", str(port), *more], "Server is ready")
