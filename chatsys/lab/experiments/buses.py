"""Two servers on one database, half of a room on each: every message must reach everybody once, in sequence. The bus
between them is PostgreSQL's NOTIFY, and Redis where a redis-server is installed; one server is the baseline."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager

from chatsys.lab.load import empty_database
from chatsys.lab.record import Count, Point
from chatsys.lab.servers import chat_server, free_port, start_all
from chatsys.lab.stage import Experiment, Stage
from chatsys.lab.workloads.doors import Client, client

NAME = "buses"
ONE = "one server"
_ROOM = "lab buses"
_ARRIVED = 20.0  # seconds within which the last delivery must be there


async def perform(stage: Stage) -> None:
    """Measure each arrangement; deliveries a second and what went missing go into the record."""
    if not _steps(stage):
        return
    members = min(40, max(stage.profile.members))
    with ExitStack() as stack:
        arrangements: dict[str, tuple[int, Mapping[str, str]]] = {ONE: (1, {}), "two servers, NOTIFY": (2, {})}
        if shutil.which("redis-server"):
            arrangements["two servers, Redis"] = (2, {"REDIS_URL": stack.enter_context(_redis())})
        else:
            stage.result.limitations.append("No redis-server is installed: Redis was not measured as a bus.")
        faults: dict[str, float] = {"deliveries": 0, "lost": 0, "doubled": 0, "swapped": 0}
        for name, (number, settings) in arrangements.items():
            stage.step(f"buses: {name}")
            found = await _measured(stage, number, dict(settings), members)
            stage.result.points.append(
                Point(
                    experiment=NAME,
                    subject=name,
                    x=members,
                    metric="deliveries/s",
                    value=found["deliveries"] / found["seconds"],
                    unit="1/s",
                )
            )
            for key in faults if number > 1 else ():
                faults[key] += found[key]
            if any(found[fault] for fault in ("lost", "doubled", "swapped")):
                stage.result.invalid(f"{name}: messages lost, doubled or swapped")
    stage.result.counts += [Count(subject="two servers", metric=key, value=value) for key, value in faults.items()]


async def _measured(stage: Stage, number: int, settings: dict[str, str], members: int) -> dict[str, float]:
    url = empty_database(stage.server_url, "chatsys_lab_buses")
    messages = max(20, int(100 * stage.profile.stretch))
    async with AsyncExitStack() as stack:
        processes = stack.enter_context(ExitStack())
        servers = start_all(processes, [chat_server(url, settings=settings) for _ in range(number)])
        everyone = [
            await stack.enter_async_context(client(servers[n % number].url, _ROOM, f"member {n}"))
            for n in range(members)
        ]
        began = time.perf_counter()
        for text in range(messages):
            await everyone[0].call("send-message", {"message": f"message {text}"})
        await _arrived(everyone, messages)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, **_audit([member.seqs for member in everyone], messages)}


async def _arrived(everyone: Sequence[Client], messages: int) -> None:
    """Wait until everybody has as many messages, or for so long that some must be lost."""
    deadline = time.perf_counter() + _ARRIVED
    while any(len(member.seqs) < messages for member in everyone) and time.perf_counter() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def _audit(received: Sequence[Sequence[int]], messages: int) -> dict[str, float]:
    return {
        "deliveries": float(sum(map(len, received))),
        "lost": float(sum(messages - len(set(seqs)) for seqs in received)),
        "doubled": float(sum(len(seqs) - len(set(seqs)) for seqs in received)),
        "swapped": float(sum(list(seqs) != sorted(seqs) for seqs in received)),
    }


@contextmanager
def _redis() -> Iterator[str]:
    """A redis-server of its own on a free port of 127.0.0.1, which keeps nothing."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="chatsys-redis-") as folder:
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _steps(stage: Stage) -> int:
    wanted = "postgresql" in stage.stores and "socket" in stage.depths and stage.wants(NAME)
    return 2 + (shutil.which("redis-server") is not None) if wanted else 0


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=_steps, perform=perform)
