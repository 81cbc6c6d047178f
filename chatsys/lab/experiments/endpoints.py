"""The guide's table as a client sees it: HTTP requests and Socket.IO events to a server that is started with the CLI.

Both servers have the same rows: PostgreSQL's are copied, those of the memory server come from a snapshot file. In
addition each gets the same small chat through its own endpoints. The echo of a stock Socket.IO server is the baseline
of sending.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from chatsys.lab.datasets.filling import write_snapshot
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.experiments.table import NAME as TABLE
from chatsys.lab.experiments.table import record_baseline, record_operation
from chatsys.lab.provenance.machine import processors
from chatsys.lab.runner.environment import Environment, Experiment, enter_all
from chatsys.lab.runner.rounds import Match, closed, interleaved, steps
from chatsys.lab.subjects.servers import ServerProcess, chat_server, reference_server, start_all
from chatsys.lab.subjects.subject import SubjectProcess, subject_process
from chatsys.lab.subjects.worker import Opening
from chatsys.lab.workloads.endpoints import HTTP, SOCKET
from chatsys.lab.workloads.operation import SEND

NAME = "endpoints"
_USERS_PER_MESSAGE = 20  # few messages suffice: the requests depend on the users and on the clients' own room
_DEPTHS = {"http": HTTP, "socket": SOCKET}
_ECHO = "socket.io"


def _wanted(env: Environment) -> list[tuple[str, str]]:
    return [
        (depth, name)
        for depth, names in _DEPTHS.items()
        if depth in env.depths
        for name in names
        if env.wants(NAME, name)
    ]


async def perform(env: Environment) -> None:
    """Measure, and record operations, ratios and the baseline."""
    wanted = _wanted(env)
    server_cpu, client_cpu = processors()
    rows = Synthetic(env.profile.users, env.profile.users // _USERS_PER_MESSAGE, env.seed)
    async with AsyncExitStack() as stack:
        processes = stack.enter_context(ExitStack())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="chatsys-lab-")))

        def client(name: str, kind: str, server: ServerProcess) -> AbstractAsyncContextManager[SubjectProcess]:
            opening = Opening(kind=kind, users=0, messages=0, seed=env.seed, url=server.url, cpu=client_cpu)
            return subject_process(name, opening)

        with env.timed(f"{NAME}: servers filled"):
            filled = [await _filled(env, store, rows, folder) for store in env.stores]
            servers = [chat_server(url, settings=settings, cpu=server_cpu) for url, settings in filled]
            *ours, theirs = start_all(processes, [*servers, reference_server(cpu=server_cpu)])
        clients = [client(store, "endpoint", server) for store, server in zip(env.stores, ours, strict=True)]
        *subjects, reference = await enter_all(stack, [*clients, client(_ECHO, "echo", theirs)])
        env.watch.reasons()
        matches = [
            Match([*subjects, reference] if name == SEND else subjects, closed(env.profile, name, env.seed), depth)
            for depth, name in wanted
        ]
        try:
            await interleaved(env, matches, env.profile.rounds, NAME, TABLE)
        finally:  # an interrupted run records what it has
            for depth, name in wanted:
                record_operation(env, name, depth, 0, rows)
            below = env.rounds(TABLE, SEND, _ECHO, "socket", 0)
            for store in env.stores if below else ():
                record_baseline(env, SEND, store, _ECHO, env.rounds(TABLE, SEND, store, "socket", 0), below)
        env.disturbed()


async def _filled(env: Environment, store: str, rows: Synthetic, folder: Path) -> tuple[str, dict[str, str]]:
    """The URL of a store with these rows, and the settings with which a server loads them."""
    env.tell(f"{NAME}: {rows.users:,} users for {store}", False)
    if store != "memory":
        return await asyncio.to_thread(env.database, rows, NAME), {}
    file = folder / "memory.snapshot"
    await write_snapshot(rows, file)
    return "memory://", {"CHATSYS_SNAPSHOT": str(file)}


EXPERIMENT = Experiment(
    name=NAME,
    names=(NAME, *HTTP, *SOCKET),
    steps=lambda env: steps(env.profile.rounds) if _wanted(env) else 0,
    perform=perform,
)
