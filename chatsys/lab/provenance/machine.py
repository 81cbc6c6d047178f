"""What the run ran on, and whether the machine was quiet enough for the run to be believed."""

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
import psycopg

from chatsys.database.connecting import connected
from chatsys.lab.provenance import program
from chatsys.store.address import read_url

FOREIGN_SHARE = 0.15
"""Share of all processors that other programs may use while the lab measures."""
STEAL_SHARE = 0.05
"""Share of all processors that the hypervisor may take away."""
BUSY_SHARE = 0.9
"""Share of its processor from which on a process has none to spare."""
MISSED_SHARE = 0.01
"""Share of intended starts that a turn at a fixed rate may miss."""


def processors() -> tuple[int | None, int | None]:
    """Where what is measured and its counterpart are pinned: to different processors, or nowhere if there is one."""
    if not hasattr(os, "sched_getaffinity"):  # only Linux lets a program choose
        return (None, None)
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


def describe(server_url: str | None, shown_url: str) -> dict[str, Any]:
    """The environment of a run: BENCHMARKING rule 9. ``shown_url`` has no password."""
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
    """Processor seconds since the start of the machine: of all, stolen, and of the lab's own processes."""

    at: float
    busy: float
    steal: float
    own: float


class MachineWatch:
    """Looks whether others use the processors. Own processes: this one, its children, and those of ``postmaster``."""

    def __init__(self, postmaster: int | None = None) -> None:
        self.postmaster = postmaster
        self._before = self._snapshot()

    def reasons(self) -> list[str]:
        """Why what was measured since the last call can't be believed; empty if it can."""
        foreign, steal = self.shares()
        found = []
        if foreign > FOREIGN_SHARE:
            found.append(f"other programs used more than {FOREIGN_SHARE:.0%} of the processors")
        if steal > STEAL_SHARE:
            found.append(f"the hypervisor took more than {STEAL_SHARE:.0%} of the processors away")
        return found

    def shares(self) -> tuple[float, float]:
        """Which share of all processors other programs have used since the last call, and the hypervisor taken away."""
        before, after = self._before, self._snapshot()
        self._before = after
        capacity = max(after.at - before.at, 1e-9) * (os.cpu_count() or 1)
        foreign = (after.busy - before.busy - (after.own - before.own)) / capacity
        return foreign, (after.steal - before.steal) / capacity

    def look(self) -> None:
        """Note what own processes have used so far: of one that ends before the next look, no more is counted."""
        self._snapshot()

    def _snapshot(self) -> ProcessorSnapshot:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        steal = getattr(times, "steal", 0.0)
        return ProcessorSnapshot(time.monotonic(), sum(times[:8]) - idle - steal, steal, self._own())

    def _own(self) -> float:
        return sum(processor_seconds(root) for root in (os.getpid(), self.postmaster) if root is not None)


def processor_seconds(root: int) -> float:
    """What a process and its descendants have used; one that has ended is in its parent's account of children."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(root)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += sum(member.cpu_times()[:4])  # user, system, and both of ended children
    return total


def exact_processor_seconds(pid: int) -> float:
    """What a process alone has used, to the microsecond where the kernel keeps account of threads; 0 if it has ended.

    ``cpu_times`` counts in hundredths of a second. See https://docs.kernel.org/scheduler/sched-stats.html
    """
    tasks = [text for text in map(_read, Path(f"/proc/{pid}/task").glob("*/schedstat")) if text]
    if tasks:
        return sum(int(text.split()[0]) for text in tasks) / 1e9
    with suppress(psutil.NoSuchProcess):
        return float(sum(psutil.Process(pid).cpu_times()[:2]))
    return 0.0


def saturated(got: Mapping[str, Any]) -> bool:
    """Whether the load generator bounds what a turn measured: it had no processor to spare, and the server had.

    A generator that has nothing to do wakes up for every single message, and one that lags behind finds many at once:
    how busy it is says little about how much more it could do. A server that fills its own processor is the limit.
    """
    full = BUSY_SHARE * got["seconds"]
    return bool(got["generator_cpu"] > full > got["server_cpu"])


def generator_reasons(got: Mapping[str, Any], what: str) -> list[str]:
    """Why latencies of a turn of clients can't be believed: its generator was saturated, or missed intended starts."""
    found = []
    if saturated(got):
        found.append(f"the load generator of {what} was saturated")
    if got.get("late_starts", 0) > max(1, MISSED_SHARE * got.get("starts", 0)):  # one of a few tells no share
        found.append(f"the load generator of {what} missed more than {MISSED_SHARE:.0%} of its intended starts")
    return found


@contextmanager
def kept_to(postmaster: int | None, cpu: int | None) -> Iterator[None]:
    """Within it all processes of a PostgreSQL server run on one processor, the other one than its clients'.

    Left to itself, the kernel puts a backend now beside its client, now elsewhere: the wake-ups between two processors
    cost more than finding a user, and two things that take turns would differ by their rng.
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
    """What the server starts from now on inherits its processors; what it has started is told."""
    with suppress(psutil.NoSuchProcess):
        for process in (server, *server.children()):
            with suppress(psutil.NoSuchProcess):
                process.cpu_affinity(list(cpus))


def postmaster_of(url: str) -> int | None:
    """The pid of the server at ``url`` if it is on this machine."""
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
        version = psycopg.sql.SQL("SELECT version()")
        row = connection.execute(version).fetchone()
        changed = connection.execute(
            "SELECT name, setting || coalesce(unit, '') FROM pg_settings"
            " WHERE source IN ('configuration file', 'command line') AND name !~ '(file|director|path)' ORDER BY name"
        ).fetchall()
        folder = connection.execute(
            "SELECT setting FROM pg_settings WHERE name = 'data_directory'"  # its owner and superusers see it
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
