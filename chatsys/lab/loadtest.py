"""A load test from end to end: server, Locust, counters, report, verdict.

Each turn starts a fresh server on an empty store, drives it with ``locust -f loadtests/chat.py`` headless, and reads
the server's ``/metrics`` and PostgreSQL's counters each second. Two stores take turns A B B A with the same seed.
"""

from __future__ import annotations

import os
import platform
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.files import write_atomically
from chatsys.lab.loadserver import Watch, child_server, empty_database
from chatsys.lab.report.load import page_of

SCHEMA_VERSION = 1
RESULT = "result.json"
LOCUST_RESULT = "locust.json"
STORES = ("memory", "postgres")
STATUS = {"VALID": 0, "FAILED": 1, "INVALID": 2}
SEVERITY = ("VALID", "INVALID", "FAILED")
STOP_PATIENCE = 90.0


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


class Turn(msgspec.Struct, kw_only=True):
    """One server and one Locust. ``locust`` is the generator's own result (loadtests/record.py)."""

    number: int
    store: str
    folder: str
    verdict: str
    reasons: list[str]
    locust: dict[str, Any]


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


def run(plan: Plan, reports: Path, *, database_url: str | None = None, say: Callable[[str], None]) -> tuple[Run, Path]:
    """Run ``plan``, write a folder under ``reports`` and give what it holds. Raises OperatorError."""
    locustfile = _locustfile()
    created = datetime.now(UTC)
    name = f"load-{created:%Y%m%d-%H%M%S}-{plan.scenario}-{secrets.token_hex(2)}"
    folder = (reports / name).absolute()
    turns: list[Turn] = []
    for number, store in enumerate(order_of(plan), 1):
        say(f"Turn {number} of {len(order_of(plan))}: {plan.scenario} on {store}, {plan.users} users")
        turns.append(_turn(plan, number, store, folder=folder, locustfile=locustfile, database_url=database_url))
        say(f"Turn {number}: {turns[-1].verdict}")
        if turns[-1].verdict == "INTERRUPTED":
            break
    result = Run(
        id=name,
        created_at=created.isoformat(timespec="seconds"),
        plan=plan,
        environment=_environment(),
        verdict=verdict_of([turn.verdict for turn in turns]),
        turns=turns,
        limitations=limitations(plan),
    )
    write_atomically(folder / RESULT, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    page_of(result, folder).write(folder)
    return result, folder


def order_of(plan: Plan) -> tuple[str, ...]:
    """The stores in turn: one, or both as A B B A."""
    return (*STORES, *reversed(STORES)) if plan.store == "both" else (plan.store,)


def verdict_of(verdicts: list[str]) -> str:
    """The gravest of the turns' verdicts."""
    return max(verdicts, key=lambda verdict: SEVERITY.index(verdict) if verdict in SEVERITY else len(SEVERITY))


def exit_status(result: Run) -> int:
    """0 for VALID, 1 for FAILED, 2 for INVALID, 130 if Ctrl-C ended it."""
    return STATUS.get(result.verdict, 130)


def limitations(plan: Plan) -> list[str]:
    """What the run does not show."""
    known = [
        "Server, database and load generator share one machine: the latencies hold for this load on this machine.",
        "The network is the loopback interface: no packet is lost, delayed or reordered.",
        "Users are simulated: who does what how often is in loadtests/weights.py, with sources.",
        "The message history grows from empty; a server with years of messages is not tested here.",
    ]
    if plan.arrival == "closed":
        known.append(
            "Closed loop: a slow server slows its users down, and the waits of messages that were therefore sent later "
            "are not in the acknowledgement latency (coordinated omission); `--arrival poisson` counts them."
        )
    if plan.store == "both":
        known.append("The two stores took turns on one machine (A B B A); each turn began with an empty store.")
    return known


def _locustfile() -> Path:
    spec = find_spec("loadtests")
    if spec is None or spec.origin is None:
        raise OperatorError(
            "The load tests are not installed.", hint="Run `chatsys loadtest` from a checkout of chatsys."
        )
    if find_spec("locust") is None:
        raise OperatorError("Locust is not installed.", hint="Run `pip install 'chatsys[loadtests]'`.")
    return Path(spec.origin).parent / "chat.py"


def _turn(plan: Plan, number: int, store: str, *, folder: Path, locustfile: Path, database_url: str | None) -> Turn:
    own = folder / f"turn-{number}-{store}"
    own.mkdir(parents=True)
    with _store(store, folder.name, number, database_url) as url, child_server(url, own) as (address, pid):
        watched = url if store == "postgres" else None
        with Watch(address, pid, watched, own) as watch, TemporaryDirectory() as scratch:
            status = _locust(plan, address, locustfile, own, Path(scratch))
    result = _result_of(own)
    verdict, reasons = result.get("verdict", "FAILED"), list(result.get("reasons", ()))
    if not result:
        reasons.append(f"Locust ended with status {status} and left no result; see {own / 'locust.log'}")
    if status == 130:
        verdict, reasons = "INTERRUPTED", ["Ctrl-C", *reasons]
    if watch.trouble and verdict == "VALID":
        verdict = "INVALID"
    return Turn(
        number=number,
        store=store,
        folder=own.name,
        verdict=verdict,
        reasons=reasons + watch.trouble,
        locust=result,
    )


@contextmanager
def _store(store: str, run_name: str, number: int, database_url: str | None) -> Iterator[str]:
    if store == "memory":
        yield "memory://"
        return
    name = "chatsys_" + run_name.replace("-", "_") + f"_{number}"
    with empty_database(database_url, Path(".chatsys/loadtest/postgres"), name) as url:
        yield url


def _locust(plan: Plan, address: str, locustfile: Path, folder: Path, scratch: Path) -> int:
    """Drive the server; Locust's exit status, or 130 after Ctrl-C (Locust still concludes and writes)."""
    seconds = max(5, round(plan.minutes * 60 / (2 if plan.store == "both" else 1)))
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
        "--accounts": scratch / "accounts.json",
        "--csv": folder / "locust",
        "--html": folder / "locust.html",
    }
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary"]
    command += [text for name, value in options.items() for text in (name, str(value))]
    command += ["--tags", *plan.tags] if plan.tags else []
    command += ["--processes", str(plan.processes)] if plan.processes > 1 else []
    with (folder / "locust.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=locustfile.parent.parent,
            env=os.environ | {"NO_COLOR": "1"},
        )
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(STOP_PATIENCE)
            except (KeyboardInterrupt, subprocess.TimeoutExpired):
                child.kill()
                child.wait()
            return 130


def _result_of(folder: Path) -> dict[str, Any]:
    path = folder / LOCUST_RESULT
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path.exists() else {}


def _environment() -> dict[str, Any]:
    return {"python": platform.python_version(), "kernel": platform.release(), "cpus": os.cpu_count()}
