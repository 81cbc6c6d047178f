"""A rolling restart under load: the processes of a server are ended and replaced one after another."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import psycopg

from chatsys.lab.loadtest import memory
from chatsys.lab.subjects.servers import ServerProcess

PROCESSES = 2
"""Server processes: one serves while the other is replaced."""
_CALM = 5.0
"""Seconds with all users connected before the first process is ended, and between two processes."""
_REPLACED_WITHIN = 30.0
_LOOK = 0.1


class RollingRestart(threading.Thread):
    """End the processes of ``server`` one after another, once the samples in ``folder`` show ``users`` users.

    ``replaced`` counts the processes that have a successor; ``trouble`` says why the restart ended early.
    """

    def __init__(self, server: ServerProcess, database_url: str, folder: Path, users: int) -> None:
        super().__init__(name="rolling-restart", daemon=True)
        self._server = server
        self._database_url = database_url
        self._samples = folder / "samples.jsonl"
        self._users = users
        self._over = threading.Event()
        self.replaced = 0
        self.trouble = ""

    def __enter__(self) -> RollingRestart:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        if self.replaced < PROCESSES and not self.trouble:
            self.trouble = f"only {self.replaced} of {PROCESSES} server processes were replaced: make --minutes longer"

    def run(self) -> None:
        """Wait for the users. Then end each process that serves now, and wait for its successor."""
        try:
            with psycopg.connect(self._database_url, autocommit=True) as connection:
                if not self._until(self._all_connected):
                    return
                for process in self._server.worker_processes():
                    if self._over.wait(_CALM):
                        return
                    known = _servers(connection)
                    process.send_signal(signal.SIGTERM)
                    if not self._until(partial(_another, connection, known), _REPLACED_WITHIN):
                        return
                    self.replaced += 1
        except (psycopg.Error, psutil.Error) as error:
            self.trouble = f"the rolling restart ended early: {type(error).__name__}: {error}"

    def _all_connected(self) -> bool:
        return any(line["users"] >= self._users for line in memory.lines(self._samples))

    def _until(self, happened: Callable[[], object], seconds: float = float("inf")) -> bool:
        """Wait for it. Returns False after ``seconds``, or when the load test is over."""
        deadline = time.monotonic() + seconds
        while not happened():
            if self._over.wait(_LOOK) or time.monotonic() > deadline:
                return False
        return True


def _another(connection: psycopg.Connection[tuple[str]], known: set[str]) -> bool:
    return bool(_servers(connection) - known)


def _servers(connection: psycopg.Connection[tuple[str]]) -> set[str]:
    """The ids of the serving processes: each registers in the database before it listens."""
    return {row[0] for row in connection.execute("SELECT server_id::text FROM chat_servers").fetchall()}
