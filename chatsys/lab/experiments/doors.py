"""The guide's table as a client sees it: HTTP requests and Socket.IO events, to a server started as an operator would.

Both servers begin empty and get the same small chat through their doors (a memory server can't be filled otherwise);
a stock Socket.IO echo is the floor of sending.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack

from chatsys.lab import statistics
from chatsys.lab.contestant import Contestant, contestant
from chatsys.lab.experiments.table import NAME as TABLE
from chatsys.lab.experiments.table import record_operation
from chatsys.lab.machine import processors
from chatsys.lab.record import Floor
from chatsys.lab.runner import Match, closed, interleaved, steps
from chatsys.lab.servers import ServerProcess, chat_server, start_all, stock_server
from chatsys.lab.stage import Experiment, Stage, enter_all
from chatsys.lab.worker import Opening
from chatsys.lab.workloads.doors import HTTP, SOCKET
from chatsys.lab.workloads.operation import SEND

NAME = "doors"
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
    async with AsyncExitStack() as stack:
        processes = stack.enter_context(ExitStack())

        def client(name: str, kind: str, server: ServerProcess) -> AbstractAsyncContextManager[Contestant]:
            opening = Opening(kind=kind, users=0, messages=0, seed=stage.seed, url=server.url, cpu=client_cpu)
            return contestant(name, opening)

        urls = [stage.empty(store, "doors") for store in stage.stores]
        *ours, theirs = start_all(
            processes, [*(chat_server(url, cpu=server_cpu) for url in urls), stock_server(cpu=server_cpu)]
        )
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
                record_operation(stage, name, depth, 0)
            _record_floor(stage)
        stage.disturbed()


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
