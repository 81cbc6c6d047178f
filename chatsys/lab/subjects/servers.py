"""Servers as child processes: ``chatsys serve``, the reference server, and other programs."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from chatsys.errors import OperatorError
from chatsys.interrupts import undisturbed

if TYPE_CHECKING:
    import psutil

T = TypeVar("T", int, float)
START_TIMEOUT = 300.0  # under valgrind, a server starts slowly
_OWN_SETTINGS = ("CHATSYS_", "DB_", "JWT_", "DATABASE_URL", "REDIS_URL", "CORS_ORIGIN", "PORT")


class Program(NamedTuple):
    """The chatsys to start: its interpreter, its PYTHONPATH, further environment variables, and a wrapper command."""

    python: str
    path: str
    variables: Mapping[str, str] = {}
    wrapper: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        """The command line of a sub-command."""
        return [*self.wrapper, self.python, "-m", "chatsys", *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of this process without settings of chatsys, plus PYTHONPATH, ``variables`` and ``more``."""
        known = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_SETTINGS)}
        own = {"PYTHONPATH": self.path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        return known | own | dict(self.variables) | more


def this_program(first: Sequence[Path] = ()) -> Program:
    """The chatsys that runs now. It looks for modules in the folders ``first`` before all others."""
    return Program(sys.executable, os.pathsep.join(filter(None, (*map(str, first), *sys.path))))


class ServerProcess:
    """A server that listens at ``url`` and serves with ``workers`` processes, each of which can fill one processor."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, workers: int = 1, log: Path | None = None) -> None:
        self.popen = process
        self.url = url
        self.workers = workers
        self.log = log

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the process and its workers."""
        return sum(self._of_each(lambda process: int(process.memory_info().rss)))

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the process and its workers so far, including workers that have ended."""
        return sum(self._of_each(lambda process: sum(process.cpu_times()[:4])))

    def worker_processes(self) -> list[psutil.Process]:
        """The worker processes; empty if the server is a single process."""
        import psutil  # part of the extra bench, which a server does not need

        children = psutil.Process(self.popen.pid).children()
        return [child for child in children if any("spawn_main" in part for part in child.cmdline())]

    def kill(self) -> None:
        """End it with SIGKILL, without a shutdown."""
        self.popen.kill()
        self.popen.wait()

    def _of_each(self, figure: Callable[[psutil.Process], T]) -> Iterator[T]:
        import psutil  # part of the extra bench, which a server does not need

        first = psutil.Process(self.popen.pid)
        workers = first.children(recursive=True)
        yield figure(first)
        for worker in workers:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                yield figure(worker)


def start_all(stack: ExitStack, servers: Sequence[AbstractContextManager[ServerProcess]]) -> list[ServerProcess]:
    """Start servers in parallel. They stop when ``stack`` closes."""
    with ThreadPoolExecutor(len(servers)) as pool:
        return list(pool.map(stack.enter_context, servers))


@contextmanager
def chat_server(
    database_url: str,
    *,
    settings: dict[str, str] | None = None,
    cpu: int | None = None,
    program: Program | None = None,
    port: int = 0,
) -> Iterator[ServerProcess]:
    """``chatsys serve`` on ``port`` of 127.0.0.1 (0 for a free one), with no other settings than ``settings``.

    Raises OperatorError with the server's own error line if it does not start.
    """
    program = program or this_program()
    settings = settings or {}
    port = port or free_port()
    command = program.command("serve", "--host", "127.0.0.1", "--port", str(port))
    own = {"CHATSYS_ENV": "production", "JWT_SECRET": secrets.token_hex(32)}
    own["DATABASE_URL"] = database_url  # not an argument: it may have a password, and the process list shows those
    workers = int(settings.get("CHATSYS_WORKERS", 1))
    with tempfile.TemporaryDirectory(prefix="chatsys-server-") as folder, Path(folder, "errors").open("w+b") as errors:
        ready: Callable[[], bool] = partial(listens, port)
        if workers > 1:  # the port listens as soon as one of them does
            own["CHATSYS_READY_FILE"] = f"{folder}/ready"
            ready = Path(folder, "ready").exists
        with _child(command, program.environment(**(own | settings)), folder, errors.fileno(), cpu) as process:
            log = Path(errors.name)
            if not wait_until(ready, process):
                lines = log.read_text("utf-8", "replace").strip().splitlines() or ["it printed nothing"]
                raise OperatorError(f"The server did not start: {lines[-1]}", hint="Try `chatsys serve` yourself.")
            yield ServerProcess(process, f"http://127.0.0.1:{port}", workers, log)


def reference_server(*, cpu: int | None = None) -> AbstractContextManager[ServerProcess]:
    """The baseline of :mod:`chatsys.lab.subjects.reference` on a free port of 127.0.0.1."""
    command = [sys.executable, "-m", "chatsys.lab.subjects.reference"]
    return listening_server("stock Socket.IO", command, cpu=cpu, variables={"PYTHONPATH": this_program().path})


@contextmanager
def listening_server(
    what: str, command: Sequence[str], *, cpu: int | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """A program that listens at the port given as its last argument. The block starts when it listens.

    Raises OperatorError if it ends or does not listen in time.
    """
    port = free_port()
    with _child([*command, str(port)], os.environ | (variables or {}), None, None, cpu) as process:
        if not wait_until(partial(listens, port), process):
            raise OperatorError(f"The {what} server did not start.")
        yield ServerProcess(process, f"http://127.0.0.1:{port}")


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = START_TIMEOUT) -> bool:
    """Wait until ``ready`` returns true. Returns false if the process ends before, or is not ready in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if ready():
            return True
        time.sleep(0.02)
    return False


def listens(port: int) -> bool:
    """Whether something listens on this port of 127.0.0.1."""
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A free TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _child(
    command: list[str], environment: Mapping[str, str], folder: str | None, errors: int | None, cpu: int | None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,  # Ctrl-C goes to the lab alone, which then stops its servers
    )
    try:
        if cpu is not None:
            os.sched_setaffinity(process.pid, [cpu])
        yield process
    finally:
        with undisturbed():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
