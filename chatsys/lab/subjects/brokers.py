"""Redis and NATS as child processes of the lab, without persistence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from chatsys.errors import OperatorError
from chatsys.lab.subjects.servers import free_port, listens, wait_until

_START_SECONDS = 10.0


class _Kind(NamedTuple):
    program: str
    scheme: str
    arguments: tuple[str, ...]
    """``{port}`` and ``{folder}`` are replaced when the broker starts."""


BROKERS: Mapping[str, _Kind] = {
    "Redis": _Kind(
        "redis-server", "redis", ("--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", "{folder}")
    ),
    "NATS": _Kind("nats-server", "nats", ("-a", "127.0.0.1", "-p", "{port}")),
}


class RunningBroker(NamedTuple):
    """A broker that accepts connections at ``url``."""

    url: str
    pid: int


@contextmanager
def running_broker(name: str, cpu: int | None) -> Iterator[RunningBroker]:
    """One of ``BROKERS`` on a free port of 127.0.0.1. Raises OperatorError if it is not installed or does not start.

    The program is searched where wheels install programs, on PATH, and where Debian installs servers.
    """
    kind = BROKERS[name]
    folders = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin")
    program = shutil.which(kind.program, path=os.pathsep.join(folders))
    if program is None:
        raise OperatorError(f"there is no {kind.program} on this machine.", hint=f"Install {kind.program}.")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="chatsys-broker-") as folder:
        arguments = [argument.format(port=port, folder=folder) for argument in kind.arguments]
        process = subprocess.Popen(
            [program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            if cpu is not None:
                psutil.Process(process.pid).cpu_affinity([cpu])
            if not wait_until(partial(listens, port), process, _START_SECONDS):
                ended = "" if process.returncode is None else f": it ended with {process.returncode}"
                raise OperatorError(f"{kind.program} did not start within {_START_SECONDS:g} seconds{ended}.")
            yield RunningBroker(f"{kind.scheme}://127.0.0.1:{port}", process.pid)
        finally:
            process.kill()
            process.wait()
