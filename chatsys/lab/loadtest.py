"""A load test from end to end: server, Locust, counters, report, verdict.

Each turn starts a fresh server on an empty store, drives it with Locust headless, and reads
the server's ``/metrics`` and PostgreSQL's counters each second. Two stores take turns A B B A with the same seed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

import chatsys
from chatsys.lab import loadaccounts, loadlimits, loadmemory, machine
from chatsys.lab.load import alone_on, drop_database, empty_database
from chatsys.lab.loadcounters import Counters
from chatsys.lab.report.load import page_of
from chatsys.lab.servers import chat_server, free_port
from chatsys.results.files import write_atomically
from chatsys.store.embedded import embedded_server, undisturbed
from chatsys.store.postgres.address import read_url
from chatsys.store.postgres.admin import connected

SCHEMA_VERSION = 1
LOCUSTFILE = Path(chatsys.__file__).parent / "loadtesting" / "locustfile.py"
RESULT = "result.json"
LOCUST_RESULT = "locust.json"
ACCOUNTS = "accounts.json"
STORES = ("memory", "postgres")
STATUS = {"VALID": 0, "FAILED": 1, "INVALID": 2}
INTERRUPTED, STATUS_INTERRUPTED = "INTERRUPTED", 130
SEVERITY = ("VALID", "INVALID", "FAILED", INTERRUPTED)
STOP_PATIENCE = 90.0
MINUTES = {"soak": 31.0, "capacity": 3.0}
"""How long each store is driven, unless told; other scenarios take one minute."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. ``minutes`` are those of each store; ``interval`` in seconds, ``objective`` in ms."""

    scenario: str
    users: int
    store: str
    minutes: float
    interval: float = 20.0
    room_size: int = 20
    room_sizes: str = "zipf"
    receipts: float = 0.1
    arrival: str = "closed"
    objective: float = 200.0
    spawn_rate: float = 50.0
    processes: int = 1
    tags: tuple[str, ...] = ()
    seed: int = 1


class Databases(msgspec.Struct, frozen=True):
    """Where PostgreSQL is: a server's URL, or None for the private one whose data lie in ``folder``."""

    url: str | None
    folder: Path


class Turn(msgspec.Struct, kw_only=True):
    """One server and one Locust of so many ``processes``. ``locust`` is the generator's own result
    (chatsys.loadtesting.record)."""

    number: int
    store: str
    folder: str
    verdict: str
    reasons: list[str]
    locust: dict[str, Any]
    processes: int = 1


class Run(msgspec.Struct, kw_only=True):
    """A whole load test: ``result.json`` in its folder."""

    id: str
    created_at: str
    plan: Plan
    environment: dict[str, Any]
    verdict: str
    turns: list[Turn]
    limitations: list[str]
    schema_version: int = SCHEMA_VERSION


def run(plan: Plan, reports: Path, request: Databases, say: Callable[[str], None]) -> tuple[Run, Path]:
    """Run ``plan``, write a folder under ``reports`` and give what it holds. Raises OperatorError."""
    created = datetime.now(UTC)
    name = f"load-{created:%Y%m%d-%H%M%S}-{plan.scenario}-{secrets.token_hex(2)}"
    folder, order = (reports / name).absolute(), order_of(plan)
    turns: list[Turn] = []
    with _postgres(request, needed="postgres" in order) as server_url:
        environment = machine.describe(server_url, "memory://" if server_url is None else _shown(server_url))
        for number, store in enumerate(order, 1):
            say(f"Turn {number} of {len(order)}: {plan.scenario} on {store}, {plan.users} users")
            processes = plan.processes
            while True:
                again = msgspec.structs.replace(plan, processes=processes)
                try:
                    with _store(store, server_url, name, number) as url:
                        turn = _turn(again, number, store, url, folder=folder)
                except KeyboardInterrupt:  # while a server started or stopped
                    if not turns:
                        shutil.rmtree(folder, ignore_errors=True)
                        raise
                    turn = _unmeasured(number, store, folder)
                if not loadlimits.more_generators_help(turn.locust.get("steps", ()), processes):
                    break
                processes *= 2
                say(f"Turn {number}: the load generator was the limit; again with {processes} generator processes")
                shutil.rmtree(folder / turn.folder)
            turns.append(turn)
            say(f"Turn {number}: {turns[-1].verdict}")
            if turns[-1].verdict == INTERRUPTED:
                break
    result = Run(
        id=name,
        created_at=created.isoformat(timespec="seconds"),
        plan=plan,
        environment=environment,
        verdict=verdict_of([turn.verdict for turn in turns]),
        turns=turns,
        limitations=limitations(plan),
    )
    write_atomically(folder / RESULT, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    page_of(result, folder).write(folder)
    return result, folder


def order_of(plan: Plan) -> tuple[str, ...]:
    """The stores in turn: one, or both as A B B A; a search for the capacity is many turns of its own, so A B."""
    if plan.store != "both":
        return (plan.store,)
    return STORES if plan.scenario == "capacity" else (*STORES, *reversed(STORES))


def verdict_of(verdicts: list[str]) -> str:
    """The gravest of the turns' verdicts."""
    return max(verdicts, key=SEVERITY.index)


def exit_status(result: Run) -> int:
    """0 for VALID, 1 for FAILED, 2 for INVALID, 130 if Ctrl-C ended it."""
    return STATUS.get(result.verdict, STATUS_INTERRUPTED)


def limitations(plan: Plan) -> list[str]:
    """What the run does not show."""
    known = [
        "Server, database and load generator share one machine: the latencies hold for this load on this machine.",
        "The network is the loopback interface: no packet is lost, delayed or reordered.",
        "Users are simulated: who does what how often is in chatsys/loadtesting/weights.py, with sources.",
        "The message history grows from empty; a server with years of messages is not tested here.",
    ]
    if plan.arrival == "closed":
        known.append(
            "Closed loop: a slow server slows its users down, and the waits of messages that were therefore sent later "
            "are not in the acknowledgement latency (coordinated omission); `--arrival poisson` counts them."
        )
    if plan.store == "both":
        order = " ".join("AB"[STORES.index(store)] for store in order_of(plan))
        known.append(f"The two stores took turns on one machine ({order}); each turn began with an empty store.")
    return known


def _turn(plan: Plan, number: int, store: str, url: str, *, folder: Path) -> Turn:
    own = folder / f"turn-{number}-{store}"
    own.mkdir(parents=True)
    watch = machine.Watch(machine.postmaster_of(url) if store == "postgres" else None)
    with TemporaryDirectory() as folder_of_turn:
        scratch, secret = Path(folder_of_turn), secrets.token_hex(32)
        users, settings = loadaccounts.fill(url, plan.users, scratch, secret)
        with (
            chat_server(url, settings=settings) as server,
            Counters(server, url if store == "postgres" else None, own, watch) as counters,
        ):
            loadaccounts.write_for_locust(users, secret, server.url, scratch / ACCOUNTS, plan.processes)
            status = _locust(plan, server.url, own, scratch)
    result = _result_of(own)
    loadlimits.name_limits(result.get("steps", ()), own)
    verdict, reasons = result.get("verdict", "FAILED"), list(result.get("reasons", ()))
    if not result and status != STATUS_INTERRUPTED:
        reasons.append(f"Locust ended with status {status} and left no result; see {own / 'locust.log'}")
    if status == STATUS_INTERRUPTED:
        verdict, reasons = INTERRUPTED, ["Ctrl-C" if result else "Ctrl-C before anything was measured", *reasons]
    disturbed = watch.reasons() + counters.trouble
    if disturbed and verdict == "VALID":
        verdict = "INVALID"
    grown = loadmemory.reasons(loadmemory.of_turn(own, store)) if plan.scenario == "soak" else []
    if grown and verdict == "VALID":  # where the machine was saturated, what waited was kept, and proves nothing
        verdict = "FAILED"
    reasons += disturbed + grown
    return Turn(
        number=number,
        store=store,
        folder=own.name,
        verdict=verdict,
        reasons=reasons,
        locust=result,
        processes=plan.processes,
    )


def _unmeasured(number: int, store: str, folder: Path) -> Turn:
    """A turn that Ctrl-C ended while its server started or stopped."""
    own = folder / f"turn-{number}-{store}"
    own.mkdir(parents=True, exist_ok=True)
    reasons = ["Ctrl-C before anything was measured"]
    return Turn(number=number, store=store, folder=own.name, verdict=INTERRUPTED, reasons=reasons, locust={})


@contextmanager
def _postgres(request: Databases, *, needed: bool) -> Iterator[str | None]:
    """A server where scratch databases may be made and no other run measures: the one asked for, or the private one."""
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
    """The URL of an empty store; a database is dropped afterwards."""
    if server_url is None or store == "memory":
        yield "memory://"
        return
    name = f"chatsys_{run_name}_{number}".replace("-", "_")
    try:
        yield empty_database(server_url, name)
    finally:
        with undisturbed(), connected(server_url, autocommit=True) as connection:
            drop_database(connection, name)


def _locust(plan: Plan, address: str, folder: Path, scratch: Path) -> int:
    """Drive the server; Locust's exit status, or 130 after Ctrl-C (Locust still concludes and writes)."""
    turns_each = order_of(plan).count(STORES[0]) or 1
    seconds = max(5, round(plan.minutes * 60 / turns_each))
    options: dict[str, object] = {
        "--host": address,
        "--users": plan.users,
        "--spawn-rate": plan.spawn_rate,
        "--run-time": f"{seconds}s",
        "--scenario": plan.scenario,
        "--interval": plan.interval,
        "--room-size": plan.room_size,
        "--room-sizes": plan.room_sizes,
        "--receipts": plan.receipts,
        "--arrival": plan.arrival,
        "--objective": plan.objective,
        "--seed": plan.seed,
        "--out": folder,
        "--accounts": scratch / ACCOUNTS,
        "--csv": folder / "locust",
        "--html": folder / "locust.html",
    }
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += [text for name, value in options.items() for text in (name, str(value))]
    command += ["--tags", *plan.tags] if plan.tags else []
    command += _processes(plan.processes) if plan.processes > 1 else []
    with (folder / "locust.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,  # Locust reads a locust.conf where it is started
            env=os.environ | {"NO_COLOR": "1"},
            start_new_session=True,  # a terminal's Ctrl-C would reach Locust twice, and it would not conclude
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
    """Options for a master and ``count`` workers of its own: a free port, another Locust may have the usual one."""
    port = str(free_port())
    here = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
    return ["--processes", str(count), *here]


def _result_of(folder: Path) -> dict[str, Any]:
    path = folder / LOCUST_RESULT
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path.exists() else {}


def _shown(url: str) -> str:
    """The server's host, without user, password and database."""
    host = read_url(url).host
    return "postgresql:// on this machine" if host.startswith("/") else f"postgresql://{host}"
