"""The machine of a run, and whether it was quiet enough for a valid run."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from chatsys.database.connecting import connected
from chatsys.lab.provenance import program
from chatsys.store.address import read_url

FOREIGN_SHARE = 0.15
"""Share of all processors that other programs may use while the lab measures."""
STEAL_SHARE = 0.05
"""Share of all processors that the hypervisor may take."""
BUSY_SHARE = 0.9
"""Share of its processor above which a process counts as fully busy."""
MISSED_SHARE = 0.01
"""Share of its intended starts that a repetition at a fixed rate may miss."""


def processors() -> tuple[int | None, int | None]:
    """The processors for the measured process and for its counterpart; None if there is only one, or no choice."""
    if not hasattr(os, "sched_getaffinity"):  # only Linux lets a process choose its processors
        return (None, None)
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


def describe(server_url: str | None, shown_url: str) -> dict[str, Any]:
    """The environment of a run for its record. ``shown_url`` is the store's URL without a password."""
    return {
        **program.describe(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "cgroup": {name: _read(Path("/sys/fs/cgroup") / name) for name in ("cpu.max", "memory.max")},
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": program.versions(),
        "postgresql": _postgresql(server_url) if server_url else None,
        "store_url": shown_url,
        "garbage_collection": "on",
    }


class ProcessorSnapshot(msgspec.Struct, frozen=True):
    """Processor seconds at the time ``at``: of all processes, stolen by the hypervisor, and of own processes."""

    at: float
    busy: float
    steal: float
    own: float


class MachineWatch:
    """Measures how much other programs use the processors.

    Own processes are this one and ``postmaster``, with their descendants.
    """

    def __init__(self, postmaster: int | None = None) -> None:
        self.postmaster = postmaster
        self._before = self._snapshot()

    def reasons(self) -> list[str]:
        """Why measurements since the last call are not valid; empty if they are."""
        foreign, steal = self.shares()
        found = []
        if foreign > FOREIGN_SHARE:
            found.append(f"other programs used more than {FOREIGN_SHARE:.0%} of the processors")
        if steal > STEAL_SHARE:
            found.append(f"the hypervisor took more than {STEAL_SHARE:.0%} of the processors away")
        return found

    def shares(self) -> tuple[float, float]:
        """The shares of all processors that other programs and the hypervisor have used since the last call."""
        before, after = self._before, self._snapshot()
        self._before = after
        capacity = max(after.at - before.at, 1e-9) * (os.cpu_count() or 1)
        foreign = (after.busy - before.busy - (after.own - before.own)) / capacity
        return foreign, (after.steal - before.steal) / capacity

    def _snapshot(self) -> ProcessorSnapshot:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        steal = getattr(times, "steal", 0.0)
        return ProcessorSnapshot(time.monotonic(), sum(times[:8]) - idle - steal, steal, self._own())

    def _own(self) -> float:
        return sum(processor_seconds(root) for root in (os.getpid(), self.postmaster) if root is not None)


def processor_seconds(root: int) -> float:
    """Processor seconds of a process and its descendants. Ended ones are in their parent's account of children."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(root)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += sum(member.cpu_times()[:4])  # user and system, and the same of ended children
    return total


def saturated(got: Mapping[str, Any]) -> bool:
    """Whether the load generator limited a repetition: it used its whole processor, and the server did not.

    The load of a generator alone says little about its reserve: an idle one wakes up for every message, while a busy
    one finds many at once. If the server fills its own processor, the server is the limit.
    """
    full = BUSY_SHARE * got["seconds"]
    return bool(got["generator_cpu"] > full > got["server_cpu"])


def generator_reasons(got: Mapping[str, Any], what: str) -> list[str]:
    """Why latencies of a repetition are not valid: its generator was saturated, or missed intended starts."""
    found = []
    if saturated(got):
        found.append(f"the load generator of {what} was saturated")
    if got.get("late_starts", 0) > max(1, MISSED_SHARE * got.get("starts", 0)):  # one missed start of a few is no share
        found.append(f"the load generator of {what} missed more than {MISSED_SHARE:.0%} of its intended starts")
    return found


@contextmanager
def kept_to(postmaster: int | None, cpu: int | None) -> Iterator[None]:
    """Within the block, all processes of a PostgreSQL server run on one processor, not on that of its clients.

    Without it, the kernel sometimes puts a backend on the processor of its client and sometimes not. A wake-up of
    another processor costs more than finding a user, so two equal subjects would differ by chance.
    """
    if postmaster is None or cpu is None:
        yield
        return
    server = psutil.Process(postmaster)
    everywhere = server.cpu_affinity()
    _pin(server, [cpu])
    try:
        yield
    finally:
        _pin(server, everywhere)


def _pin(server: psutil.Process, cpus: Sequence[int]) -> None:
    """Pin the postmaster and its existing children. Later children inherit it."""
    with suppress(psutil.NoSuchProcess):
        for process in (server, *server.children()):
            with suppress(psutil.NoSuchProcess):
                process.cpu_affinity(list(cpus))


def postmaster_of(url: str) -> int | None:
    """The pid of the PostgreSQL server at ``url``; None if it is on another machine."""
    if not read_url(url).host.startswith(("/", "localhost", "127.")):
        return None
    with connected(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        try:
            return None if row is None else psutil.Process(row[0]).ppid()
        except psutil.NoSuchProcess:
            return None


def _postgresql(url: str) -> dict[str, Any]:
    with connected(url) as connection:
        row = connection.execute("SELECT version()").fetchone()
        changed = connection.execute(
            "SELECT name, setting || coalesce(unit, '') FROM pg_settings"
            " WHERE source IN ('configuration file', 'command line') AND name !~ '(file|director|path)' ORDER BY name"
        ).fetchall()
        folder = connection.execute(
            "SELECT setting FROM pg_settings WHERE name = 'data_directory'"  # visible to owner and superusers
        ).fetchone()
    local = folder is not None and postmaster_of(url) is not None
    return {
        "version": row[0] if row else "",
        "settings": dict(changed),
        "file_system": program.file_system(folder[0]) if folder is not None and local else None,
    }


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
