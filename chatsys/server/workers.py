"""Several server processes on one port: each accepts from the same listening socket and opens the store itself.

The first process binds the port, starts the workers, prints their announcements once, replaces a worker that ends, and
stops them all. It does not open the store, so processes share no database connection. A worker stops if the first
process has ended.
"""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType

from chatsys import logs
from chatsys.errors import ChatsysError, OperatorError
from chatsys.server import process
from chatsys.server.snapshot_file import nothing_to_rescue
from chatsys.settings import Settings

log = logging.getLogger(__name__)

STOP_SECONDS = 9.5
"""Seconds that the workers have to stop before they are killed."""

RESTART_SECONDS = 1.0
"""Seconds before a worker that ended is replaced."""

_spawn = multiprocessing.get_context("spawn")


class _StopRequested(Exception):
    """A signal to stop has arrived."""


class _Worker:
    """One server process. ``lines`` are its announcements, ``error`` the message and hint of a failed start."""

    def __init__(self, settings: Settings, listener: socket.socket, folder: Path) -> None:
        self.lines: list[str] = []
        self.error: tuple[str, str] | None = None
        self.pipe, theirs = _spawn.Pipe(duplex=False)
        self.process = _spawn.Process(target=_work, args=(settings, listener, theirs, folder))
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; _end stops the workers
        self.process.start()
        signal.signal(signal.SIGINT, before)
        theirs.close()

    def read(self) -> bool:
        """Receive its next announcement or error. Returns false if the process has ended."""
        try:
            received = self.pipe.recv()
        except EOFError:
            self.pipe.close()
            self.process.join()
            return False
        if isinstance(received, str):
            self.lines.append(received)
        else:
            self.error = received
        return True


def run(settings: Settings) -> None:
    """Serve with ``settings.workers`` processes until SIGTERM or Ctrl-C. Raises OperatorError if they can't start."""
    logs.configure(settings.log_format)
    if settings.database_url == "memory://":
        raise OperatorError(
            "The memory store works with one process only.",
            hint="Use `--workers 1`, or choose PostgreSQL with --database-url.",
        )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _request_stop)
    signal.signal(signal.SIGUSR1, nothing_to_rescue)
    workers: list[_Worker] = []
    with (
        process.bound_socket(settings.host, settings.port) as listener,
        process.ready_file(settings, listener) as ready,
        tempfile.TemporaryDirectory(prefix="chatsys-", ignore_cleanup_errors=True) as folder,
    ):
        given = dataclasses.replace(settings, ready_file=None), listener, Path(folder)
        try:
            for _ in range(settings.workers):
                workers.append(_Worker(*given))
            _start(workers)
            ready()
            _keep(workers, *given)
        except _StopRequested:
            log.info("Stopping %d server processes", len(workers))
        finally:
            _end(workers)


def _start(workers: list[_Worker]) -> None:
    """Wait until all workers have started, then print their announcements once."""
    while waiting := [worker for worker in workers if len(worker.lines) < process.ANNOUNCEMENTS]:
        for pipe in wait([worker.pipe for worker in waiting]):
            (worker,) = [each for each in waiting if each.pipe is pipe]
            if not worker.read():
                message, hint = worker.error or ("A server process ended while starting.", "Its log lines say why.")
                raise OperatorError(message, hint=hint)
    for line in workers[0].lines:
        process.say(line)


def _keep(workers: list[_Worker], settings: Settings, listener: socket.socket, folder: Path) -> None:
    """Replace workers that end."""
    while True:
        for pipe in wait([worker.pipe for worker in workers]):
            (index,) = [number for number, each in enumerate(workers) if each.pipe is pipe]
            if not workers[index].read():
                reason = (workers[index].error or ("",))[0]
                log.error("A server process ended (status %s). %s", workers[index].process.exitcode, reason)
                time.sleep(RESTART_SECONDS)
                workers[index] = _Worker(settings, listener, folder)


def _end(workers: list[_Worker]) -> None:
    """Stop all workers, and kill those that take too long."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for worker in workers:
        worker.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        worker.process.kill()
        worker.process.join()


def _work(settings: Settings, listener: socket.socket, pipe: Connection, folder: Path) -> None:
    """Run a worker process."""
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        process.run(settings, pipe.send, listener, folder)
    except ChatsysError as error:
        pipe.send((error.message, error.hint))
        sys.exit(1)


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _request_stop(number: int, frame: FrameType | None) -> None:
    raise _StopRequested
