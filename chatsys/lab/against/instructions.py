"""The instructions that a process executes, counted by Valgrind's callgrind (https://valgrind.org/docs/manual/cl-manual).

Neither other programs nor a hypervisor affect this measure, so it decides on a machine where times scatter. It counts
the processes of chatsys; statements, pages, WAL bytes and CPU show the work of PostgreSQL.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace

import psutil

from chatsys.errors import OperatorError
from chatsys.lab.against.plan import ComparisonPlan, Work
from chatsys.lab.against.requests import Clients, connected_clients
from chatsys.lab.against.sides import Side, running
from chatsys.lab.against.subject import Open
from chatsys.lab.datasets.synthetic import Synthetic

SAMPLES = 5
"""How often each operation is counted.

Samples differ by a few percent because of the server's timers and of how many writes share an iteration of its event
loop. Sample i does the same work on both sides. A difference counts only if the ratio of every pair exceeds the limit.
"""
_TOOL = "--tool=callgrind"
_MONITOR = "vgdb"
_PATIENCE = 60.0
"""Seconds within which Valgrind must answer."""
_IMPATIENCE = 5
"""Milliseconds after which a sleeping process is interrupted so that it answers."""
_EVENTS = re.compile(r"^events-\d+: (\d+)$", re.MULTILINE)


def why_none_are_counted() -> str:
    """The reason, as a sentence; empty if Valgrind is installed."""
    if shutil.which("valgrind") and shutil.which(_MONITOR):
        return ""
    return "No instructions were counted: Valgrind is not installed. `apt install valgrind` helps if times scatter."


def count(
    sides: Sequence[Side], plan: ComparisonPlan, todo: Sequence[Work], order: Open
) -> dict[str, tuple[list[float], list[float]]]:
    """For each operation the samples of both sides, in instructions per call.

    Raises OperatorError if a side can't run under Valgrind.
    """
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(_count_side, side, plan, todo, order) for side in sides]
        try:
            for each in wait(running, return_when=FIRST_EXCEPTION).done:
                each.result()
        except BaseException:  # Ctrl-C, or the other side failed: the rest would take minutes
            while wait(running, timeout=0.2).not_done:
                _kill_counted_processes()
            raise
    before, after = (each.result() for each in running)
    return {work.name: (before[work.name], after[work.name]) for work in todo}


def _kill_counted_processes() -> None:
    """Kill the processes of the counting threads: a thread can't be killed, but it fails when its processes are gone.

    The monitor is killed too, since it waits for an answer of a process that no longer exists.
    """
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if _TOOL in child.cmdline() or child.name() == _MONITOR:
                child.kill()


def _count_side(side: Side, plan: ComparisonPlan, todo: Sequence[Work], order: Open) -> dict[str, list[float]]:
    rows = Synthetic(plan.users, plan.messages, order.seed)
    stores = list(dict.fromkeys(work.store for work in todo if work.store))
    with (
        running(_under_valgrind(side), order, stores[:1], None) as found,
        connected_clients(found, rows, senders=plan.senders, members=plan.members) as clients,
    ):
        counters = {"": _Counter(found.server.popen.pid)}
        counters |= {store: _Counter(subject.process.pid) for store, subject in found.subjects.items()}
        for counter in counters.values():
            counter.start()
        samples: dict[str, list[float]] = {}
        for work in todo:
            if work.store not in counters:  # reuse the process: starting another one takes longer
                subject = found.subjects[work.store] = found.subjects[stores[0]]
                subject.open(side.opening(order, work.store))
                counters[work.store] = counters[stores[0]]
            work.perform(clients, work.counted, work.counted, 0)
            samples[work.name] = _samples(work, clients, counters[work.store])
    return samples


def _samples(work: Work, clients: Clients, counter: _Counter) -> list[float]:
    """Instructions per call, from the difference of two repetitions: what each does besides its calls cancels out."""
    samples = []
    start = counter.read()
    for seed in range(1, SAMPLES + 1):
        spent = []
        for calls in (work.counted, 3 * work.counted):
            work.perform(clients, calls, calls, seed)
            clients.sockets.pump(0)  # answers the server's pings
            end = counter.read()
            spent.append(end - start)
            start = end
        samples.append((spent[1] - spent[0]) / (2 * work.counted * work.answers(clients)))
    return samples


def _under_valgrind(side: Side) -> Side:
    """The same side, with its processes under Valgrind.

    The hash seed is fixed because it decides how full dictionaries are. The lease is long because a heartbeat costs as
    many instructions as some calls.
    """
    wrapper = ("valgrind", "-q", _TOOL, "--instr-atstart=no", "--callgrind-out-file=/dev/null")
    variables = {**side.program.variables, "PYTHONHASHSEED": "0", "CHATSYS_LEASE": "3600"}
    return replace(side, program=side.program._replace(wrapper=wrapper, variables=variables))


class _Counter:
    """The counter of one process, which Valgrind's monitor reads."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def start(self) -> None:
        """Count from now on. Without counting, the process is only a few times slower than usual."""
        self._monitor("instrumentation", "on")

    def read(self) -> int:
        """The instructions of all threads so far."""
        found = _EVENTS.findall(self._monitor("status", "internal"))  # as callgrind_control does
        if not found:
            raise OperatorError("Valgrind did not report its counts.")
        return sum(map(int, found))

    def _monitor(self, *command: str) -> str:
        words = [_MONITOR, f"--pid={self._pid}", f"--max-invoke-ms={_IMPATIENCE}", *command]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        except subprocess.TimeoutExpired as error:
            raise OperatorError("Valgrind's monitor did not answer.") from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it printed nothing"]
            raise OperatorError(f"Valgrind's monitor failed: {lines[-1]}")
        return done.stdout
