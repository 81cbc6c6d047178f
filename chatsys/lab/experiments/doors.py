"""The guide's table as a client sees it: HTTP requests and Socket.IO events, to a server started as an operator would.

Both servers hold the same rows: PostgreSQL's are copied, those of the memory server come from a snapshot file. On top
of them each gets the same small chat by its own endpoints. A stock Socket.IO echo is the baseline of sending.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from chatsys.lab import statistics
from chatsys.lab.datasets.filling import write_snapshot
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.experiments.table import NAME as TABLE
from chatsys.lab.experiments.table import record_operation
from chatsys.lab.provenance.machine import processors
from chatsys.lab.record import Floor
from chatsys.lab.runner.environment import Experiment, Stage, enter_all
from chatsys.lab.runner.rounds import Match, closed, interleaved, steps
from chatsys.lab.subjects.servers import ServerProcess, chat_server, start_all, stock_server
from chatsys.lab.subjects.subject import Contestant, contestant
from chatsys.lab.subjects.worker import Opening
from chatsys.lab.workloads.doors import HTTP, SOCKET
from chatsys.lab.workloads.operation import SEND

NAME = "doors"
_USERS_PER_MESSAGE = 20  # what a client asks for depends on the users, and on the messages of its own room
_DEPTHS = {"http": HTTP, "socket": SOCKET}
_ECHO = "socket.io"


def _wanted(stage: Stage) -> list[tuple[str, str]]:
    return [
        (depth, name)
        for depth, names in _DEPTHS.items()
        if depth in stage.depths
        for name in names
        if stage.wants(NAME, name)
    ]


async def perform(stage: Stage) -> None:
    """Measure, and write operations, ratios and the floor into the record."""
    wanted = _wanted(stage)
    if not wanted:
        return
    server_cpu, client_cpu = processors()
    rows = Synthetic(stage.profile.users, stage.profile.users // _USERS_PER_MESSAGE, stage.seed)
    async with AsyncExitStack() as stack:
        processes = stack.enter_context(ExitStack())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="chatsys-lab-")))

        def client(name: str, kind: str, server: ServerProcess) -> AbstractAsyncContextManager[Contestant]:
            opening = Opening(kind=kind, users=0, messages=0, seed=stage.seed, url=server.url, cpu=client_cpu)
            return contestant(name, opening)

        with stage.timed(f"{NAME}: servers filled"):
            filled = [await _filled(stage, store, rows, folder) for store in stage.stores]
            servers = [chat_server(url, settings=settings, cpu=server_cpu) for url, settings in filled]
            *ours, theirs = start_all(processes, [*servers, stock_server(cpu=server_cpu)])
        clients = [client(store, "door", server) for store, server in zip(stage.stores, ours, strict=True)]
        *subjects, stock = await enter_all(stack, [*clients, client(_ECHO, "echo", theirs)])
        stage.watch.reasons()
        matches = [
            Match([*subjects, stock] if name == SEND else subjects, closed(stage.profile, name, stage.seed), depth)
            for depth, name in wanted
        ]
        try:
            await interleaved(matches, stage.profile.rounds, stage.keep, stage.steps_of(NAME), experiment=TABLE)
        finally:  # also what an interrupted run has
            for depth, name in wanted:
                record_operation(stage, name, depth, 0, rows)
            _record_floor(stage)
        stage.disturbed()


async def _filled(stage: Stage, store: str, rows: Synthetic, folder: Path) -> tuple[str, dict[str, str]]:
    """The URL of a store with these rows, and the settings that a server needs to have them."""
    stage.tell(f"{NAME}: {rows.users:,} users for {store}", False)
    if store != "memory":
        return await asyncio.to_thread(stage.database, rows, NAME), {}
    file = folder / "memory.snapshot"
    await write_snapshot(rows, file)
    return "memory://", {"CHATSYS_SNAPSHOT": str(file)}


def _record_floor(stage: Stage) -> None:
    below = stage.rounds(TABLE, SEND, _ECHO, "socket", 0)
    for store in stage.stores if below else ():
        value, interval = statistics.ratio(stage.rounds(TABLE, SEND, store, "socket", 0), below, stage.seed)
        p50 = statistics.summary(below, stage.seed).p50_us
        stage.result.floors.append(
            Floor(operation=SEND, store=store, kind=_ECHO, p50_us=p50, ratio=value, interval=interval)
        )


EXPERIMENT = Experiment(
    name=NAME,
    names=(NAME, *HTTP, *SOCKET),
    steps=lambda stage: steps(stage.profile.rounds) if _wanted(stage) else 0,
    perform=perform,
)
