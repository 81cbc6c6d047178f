"""A load test from end to end: server, Locust, counters, report, verdict.

Each repetition starts a new server on an empty store, drives it with headless Locust, and reads the server's
``/metrics`` and PostgreSQL's counters each second. Two stores alternate A B B A with the same seed. Servers that
already run (``hosts``) alternate in the same way; only their database is watched, if the request names it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

import chatsys
from chatsys.database.connecting import connected
from chatsys.database.embedded import embedded_server
from chatsys.interrupts import undisturbed
from chatsys.lab.datasets.databases import alone_on, drop_database, empty_database
from chatsys.lab.loadtest import accounts, limits, memory
from chatsys.lab.loadtest.counters import ServerCounters
from chatsys.lab.loadtest.record import LoadTestPlan, LoadTestRepetition, LoadTestRun
from chatsys.lab.loadtest.rolling import PROCESSES, RollingRestart
from chatsys.lab.network.address import place
from chatsys.lab.provenance import machine
from chatsys.lab.report.load import page_of
from chatsys.lab.subjects.servers import chat_server, free_port
from chatsys.results import names
from chatsys.results.files import write_record
from chatsys.store.address import read_url

LOCUSTFILE = Path(chatsys.__file__).parent / "loadtesting" / "locustfile.py"
RESULT = "result.json"
LOG = "locust.log"
_COMPLAINT = "ERROR/loadtest: "
LOCUST_RESULT = "locust.json"
ACCOUNTS = "accounts.json"
STORES = tuple(names.STORES)
STATUS = {"VALID": 0, "FAILED": 1, "INVALID": 2}
INTERRUPTED, STATUS_INTERRUPTED = "INTERRUPTED", 130
SEVERITY = ("VALID", "INVALID", "FAILED", INTERRUPTED)
STOP_PATIENCE = 90.0
MINUTES = {"soak": 31.0, "capacity": 3.0}
"""Default minutes per store; other scenarios take one minute."""
_PLANNED = (
    "users", "spawn_rate", "scenario", "interval", "room_size", "room_sizes", "receipts", "arrival", "objective",
    "seed",
)  # fmt: skip
"""The fields of the plan that are options of the locustfile with the same name."""


class Databases(msgspec.Struct, frozen=True):
    """Where PostgreSQL is: a server's URL, or None for the private server with its data in ``folder``.

    ``watched`` is the database of servers that already run. It is only read.
    """

    url: str | None
    folder: Path
    watched: str | None = None


def run(plan: LoadTestPlan, reports: Path, request: Databases, say: Callable[[str], None]) -> tuple[LoadTestRun, Path]:
    """Run ``plan`` and write a folder under ``reports``. Returns its record and the folder. Raises OperatorError."""
    created = datetime.now(UTC)
    name = f"load-{created:%Y%m%d-%H%M%S}-{plan.scenario}-{secrets.token_hex(2)}"
    folder, order = (reports / name).absolute(), order_of(plan)
    repetitions: list[LoadTestRepetition] = []
    with _postgres(request, needed="postgresql" in order) as server_url:
        shown = " ".join(map(place, plan.hosts)) or ("memory://" if server_url is None else _shown(server_url))
        environment = machine.describe(request.watched or server_url, shown)
        for number, store in enumerate(order, 1):
            say(f"Repetition {number} of {len(order)}: {plan.scenario} on {store}, {plan.users} users")
            processes = plan.processes
            while True:
                again = msgspec.structs.replace(plan, processes=processes)
                try:
                    if plan.hosts:
                        repetition = _at_address(again, number, store, request, folder=folder)
                    else:
                        with _store(store, server_url, name, number) as url:
                            repetition = _on_store(again, number, store, url, folder=folder)
                except KeyboardInterrupt:  # while a server started or stopped
                    if not repetitions:
                        shutil.rmtree(folder, ignore_errors=True)
                        raise
                    repetition = _unmeasured(number, place(store) if plan.hosts else store, folder)
                if not limits.more_generators_help(repetition.locust.get("steps", ()), processes):
                    break
                processes *= 2
                say(f"Repetition {number}: the load generator was the limit; repeating with {processes} processes")
                shutil.rmtree(folder / repetition.folder)
            repetitions.append(repetition)
            say(f"Repetition {number}: {repetition.verdict}")
            if repetition.verdict == INTERRUPTED:
                break
    result = LoadTestRun(
        id=name,
        created_at=created.isoformat(timespec="seconds"),
        plan=plan,
        environment=environment,
        verdict=verdict_of([each.verdict for each in repetitions]),
        repetitions=repetitions,
        limitations=limitations(plan),
    )
    write_record(folder / RESULT, result)
    page_of(result, folder).write(folder)
    return result, folder


def order_of(plan: LoadTestPlan) -> tuple[str, ...]:
    """The order of the stores, or of the addresses of servers that already run: A B B A for two.

    A search for the capacity measures each one once, because it has many steps of its own.
    """
    subjects = plan.hosts or (STORES if plan.store == "both" else (plan.store,))
    return subjects if plan.scenario == "capacity" or len(subjects) == 1 else (*subjects, *reversed(subjects))


def verdict_of(verdicts: list[str]) -> str:
    """The most severe of the verdicts."""
    return max(verdicts, key=SEVERITY.index)


def exit_status(result: LoadTestRun) -> int:
    """0 for VALID, 1 for FAILED, 2 for INVALID, 130 if Ctrl-C ended it."""
    return STATUS.get(result.verdict, STATUS_INTERRUPTED)


def limitations(plan: LoadTestPlan) -> list[str]:
    """What the run does not show, as sentences."""
    known = ["Users are simulated. chatsys/loadtesting/weights.py says how often they do what, with sources."]
    if plan.hosts:
        known.append(
            "chatsys did not start the server. The resources that it and other programs on its machine used, and the "
            "rows that it had before, are not known."
        )
    else:
        known += [
            "Server, database and load generator share one machine: the latencies apply to this load on this machine.",
            "The network is the loopback interface: no packet is lost, delayed or reordered.",
            "The message history starts empty: a server with years of messages is not tested.",
        ]
    if plan.arrival == "closed":
        known.append(
            "Closed loop: a slow server slows its users down, so they send later. The acknowledgement latency does not "
            "include these delays (coordinated omission); with `--arrival poisson` it does."
        )
    if len(plan.hosts) > 1:
        known.append(f"The servers alternated ({' '.join(map(place, order_of(plan)))}).")
    elif plan.store == "both" and not plan.hosts:
        order = " ".join("AB"[STORES.index(store)] for store in order_of(plan))
        known.append(f"The two stores alternated on one machine ({order}); each repetition began with an empty store.")
    return known


def _on_store(plan: LoadTestPlan, number: int, store: str, url: str, *, folder: Path) -> LoadTestRepetition:
    own = folder / f"repetition-{number}-{store}"
    own.mkdir(parents=True)
    watch = machine.MachineWatch(machine.postmaster_of(url) if store == "postgresql" else None)
    with TemporaryDirectory() as temporary:
        scratch, secret = Path(temporary), secrets.token_hex(32)
        users, settings = accounts.fill(url, plan.users, scratch, secret)
        rolling = plan.scenario == "rolling-restart"
        settings |= {"CHATSYS_WORKERS": str(PROCESSES)} if rolling else {}
        with (
            chat_server(url, settings=settings) as server,
            ServerCounters(server, url if store == "postgresql" else None, own, watch) as counters,
            RollingRestart(server, url, own, plan.users) if rolling else nullcontext() as restart,
        ):
            accounts.write_for_locust(users, secret, server.url, scratch / ACCOUNTS, plan.processes)
            status = _locust(plan, server.url, own, scratch / ACCOUNTS)
    trouble = counters.trouble + ([restart.trouble] if restart is not None and restart.trouble else [])
    return _judged(plan, number, store, own, status=status, disturbed=watch.reasons() + trouble)


def _at_address(
    plan: LoadTestPlan, number: int, address: str, request: Databases, *, folder: Path
) -> LoadTestRepetition:
    """A repetition at a server that already runs. Its accounts are kept for the next run at the same address."""
    name = place(address).replace(":", "-")
    own = folder / f"repetition-{number}-{name}"
    own.mkdir(parents=True)
    kept = request.folder.parent / "loadtest" / f"{name}.json"
    trouble: list[str] = []
    if request.watched is None:
        status = _locust(plan, address, own, kept)
    else:
        watch = machine.MachineWatch(machine.postmaster_of(request.watched))
        with ServerCounters(None, request.watched, own, watch) as counters:
            status = _locust(plan, address, own, kept)
        trouble = counters.trouble
    return _judged(plan, number, place(address), own, status=status, disturbed=trouble)


def _judged(
    plan: LoadTestPlan, number: int, store: str, own: Path, *, status: int, disturbed: list[str]
) -> LoadTestRepetition:
    """The record of a repetition: the result of Locust in its folder, the verdict and its reasons."""
    result = _result_of(own)
    limits.name_limits(result.get("steps", ()), own)
    verdict, reasons = result.get("verdict", "FAILED"), [*_complaints(own), *result.get("reasons", ())]
    if not result and status != STATUS_INTERRUPTED:
        reasons.append(f"Locust ended with status {status} and left no result; see {own / LOG}")
    if status == STATUS_INTERRUPTED:
        verdict, reasons = INTERRUPTED, ["Ctrl-C" if result else "Ctrl-C before anything was measured", *reasons]
    if disturbed and verdict == "VALID":
        verdict = "INVALID"
    grown = memory.reasons(memory.of_repetition(own, store)) if plan.scenario == "soak" else []
    if grown and verdict == "VALID":  # on a saturated machine, queued messages fill memory: that proves nothing
        verdict = "FAILED"
    reasons += disturbed + grown
    return LoadTestRepetition(
        number=number,
        store=store,
        folder=own.name,
        verdict=verdict,
        reasons=reasons,
        locust=result,
        processes=plan.processes,
    )


def _unmeasured(number: int, store: str, folder: Path) -> LoadTestRepetition:
    """A repetition that Ctrl-C ended while its server started or stopped."""
    name, reasons = f"repetition-{number}-{store}", ["Ctrl-C before anything was measured"]
    (folder / name).mkdir(parents=True, exist_ok=True)
    return LoadTestRepetition(number=number, store=store, folder=name, verdict=INTERRUPTED, reasons=reasons, locust={})


@contextmanager
def _postgres(request: Databases, *, needed: bool) -> Iterator[str | None]:
    """A PostgreSQL server for this run alone: the requested one, or the private one. None if ``needed`` is false."""
    if not needed:
        yield None
    elif request.url is not None and request.url.startswith(("postgresql://", "postgres://")):
        with alone_on(request.url):
            yield request.url
    else:
        with embedded_server(request.folder) as url, alone_on(url):
            yield url


@contextmanager
def _store(store: str, server_url: str | None, run_name: str, number: int) -> Iterator[str]:
    """The URL of an empty store. A database is dropped after the block."""
    if server_url is None or store == "memory":
        yield "memory://"
        return
    name = f"chatsys_{run_name}_{number}".replace("-", "_")
    try:
        yield empty_database(server_url, name)
    finally:
        with undisturbed(), connected(server_url, autocommit=True) as connection:
            drop_database(connection, name)


def _locust(plan: LoadTestPlan, address: str, folder: Path, account_file: Path) -> int:
    """Drive the server and return Locust's exit status, or 130 after Ctrl-C (Locust still writes its result)."""
    order = order_of(plan)
    seconds = max(5, round(plan.minutes * 60 / order.count(order[0])))
    options: dict[str, object] = {f"--{name.replace('_', '-')}": getattr(plan, name) for name in _PLANNED}
    options |= {"--host": address, "--run-time": f"{seconds}s", "--accounts": account_file.absolute(), "--out": folder}
    options |= {"--csv": folder / "locust", "--html": folder / "locust.html"}
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += [text for name, value in options.items() for text in (name, str(value))]
    command += ["--tags", *plan.tags] if plan.tags else []
    command += ["--dialect", plan.dialect] if plan.dialect else []
    command += _processes(plan.processes) if plan.processes > 1 else []
    folders = (str(Path.cwd()), os.environ.get("PYTHONPATH"))  # so that Locust finds a dialect of the user
    environment = os.environ | {"NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    with (folder / LOG).open("wb") as log:
        child = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,  # Locust reads a locust.conf in its working directory
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C would reach Locust twice, and it would not write its result
        )
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(STOP_PATIENCE)
            except (KeyboardInterrupt, subprocess.TimeoutExpired):
                os.killpg(child.pid, signal.SIGKILL)  # its workers too
                child.wait()
            return STATUS_INTERRUPTED


def _processes(count: int) -> list[str]:
    """Options for a master with ``count`` workers. It gets a free port, since another Locust may use the default."""
    port = str(free_port())
    here = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
    return ["--processes", str(count), *here]


def _result_of(folder: Path) -> dict[str, Any]:
    path = folder / LOCUST_RESULT
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path.exists() else {}


def _complaints(folder: Path) -> list[str]:
    """The load test's own error messages in its log: why a run could not start."""
    lines = (folder / LOG).read_text("utf-8", "replace").splitlines()
    return list(dict.fromkeys(line.partition(_COMPLAINT)[2] for line in lines if _COMPLAINT in line))


def _shown(url: str) -> str:
    """The server's host, without user, password and database."""
    host = read_url(url).host
    return "postgresql:// on this machine" if host.startswith("/") else f"postgresql://{host}"
