"""A rolling restart under 2,000 clients of the official JavaScript library, in four processes of Node.js."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.faults.fault import NODE_OPTIONS, Concern, Context, Need, fault
from chatsys.lab.faults.record import RECOVERY_LIMIT
from chatsys.lab.faults.site import SiteServer
from chatsys.lab.faults.traffic import clock
from chatsys.results.audit import history

SCRIPT = Path(__file__).with_suffix(".mjs")
LIBRARY = files("chatsys.web").joinpath("client/vendor/socket.io.esm.min.js")
CLIENTS, PROCESSES, ROOMS = 2_000, 4, 100
EVERY_MS = 40_000
"""Milliseconds between two messages of one client: together 50 messages and 1,000 deliveries a second."""
JOIN_TIMEOUT, RETURN_TIMEOUT, ANSWER_TIMEOUT = 120.0, 30.0, 20.0
"""Seconds for all clients to join, for all to come back, and for a process to answer a command."""


class ClientsStatus(msgspec.Struct):
    """What the clients of one process saw. ``reasons`` counts disconnects by the library's names for their reasons."""

    joined: int
    waiting: int
    lost: int
    doubled: int
    reasons: dict[str, int]
    acknowledged: list[tuple[str, int, str, str]] = []
    positions: list[tuple[str, int]] = []


class OfficialClients:
    """The processes that run the clients. :func:`official_clients` starts them."""

    def __init__(self, processes: Sequence[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    async def request(self, command: str) -> list[ClientsStatus]:
        """Send a command to each process and return the answers. Raises OperatorError if a process does not answer."""
        return list(await asyncio.gather(*(self._request(process, command) for process in self._processes)))

    async def _request(self, process: asyncio.subprocess.Process, command: str) -> ClientsStatus:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(command.encode() + b"\n")
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return msgspec.json.decode(await process.stdout.readline(), type=ClientsStatus)
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            raise OperatorError(f"A process of official clients does not answer: {error!r}") from error

    async def until(self, done: Callable[[list[ClientsStatus]], bool], seconds: float, failure: str) -> float:
        """Wait until ``done`` and return how long it took. Raises OperatorError after ``seconds``."""
        begin = clock()
        while not done(answers := await self.request("status")):
            if clock() > begin + seconds:
                raise OperatorError(f"{failure} within {seconds:g} s: {answers}")
            await asyncio.sleep(0.1)
        return clock() - begin


@asynccontextmanager
async def official_clients(urls: Sequence[str], prefix: str) -> AsyncIterator[OfficialClients]:
    """Run CLIENTS clients, spread evenly over the servers at ``urls``. All have joined. Raises OperatorError."""
    processes = [
        await asyncio.create_subprocess_exec(
            *("node", *NODE_OPTIONS, str(SCRIPT), str(LIBRARY)),
            *(urls[number % len(urls)], str(CLIENTS // PROCESSES), str(ROOMS), prefix, str(number), str(EVERY_MS)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=64 * 1024 * 1024,
        )
        for number in range(PROCESSES)
    ]
    try:
        clients = OfficialClients(processes)
        await clients.until(all_joined, JOIN_TIMEOUT, "2,000 official clients did not all join")
        yield clients
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*(process.wait() for process in processes))


def all_joined(answers: Sequence[ClientsStatus]) -> bool:
    """Whether all clients are in their rooms."""
    return sum(each.joined for each in answers) == CLIENTS


@fault(
    "every server stopped and started in turn under 2,000 official clients",
    Concern.SERVER,
    "Each client loses one connection, is back within 5 s and misses nothing.",
    needs=(Need.NODE,),
    seconds=40,
    heavy=True,
)
async def rolling_restart(context: Context) -> None:
    """Restart one server after the other, as an update does, under clients that chatsys did not write."""
    prefix = f"official {secrets.token_hex(4)}"
    async with official_clients([server.address() for server in context.site.servers], prefix) as clients:
        for server in context.site.servers:
            await server.stop(seconds=10)
            await server.start()
        back = await clients.until(all_joined, RETURN_TIMEOUT, "2,000 official clients did not all come back")
        await asyncio.sleep(1)  # a second of traffic after the restart
        await clients.request("stop")
        await clients.until(
            lambda answers: not any(each.waiting for each in answers), ANSWER_TIMEOUT, "Messages were not answered"
        )
        shortcomings = await asyncio.to_thread(_shortcomings, context.site.servers[0], await clients.request("stop"))
    if back > RECOVERY_LIMIT:
        shortcomings.append(f"official clients were back only after {back:.1f} s")
    if shortcomings:
        raise OperatorError("; ".join(shortcomings))


def _shortcomings(server: SiteServer, answers: Sequence[ClientsStatus]) -> list[str]:
    """The promises that were broken, by what the clients saw and by the history that the server has stored."""
    stored: dict[str, list[tuple[int, str, str]]] = {}
    for room in {room for each in answers for room, _ in each.positions}:
        stored[room] = [(each.seq, each.id, each.message) for each in history(server.read, room, 0)]
    texts = {room: Counter(text for _, _, text in messages) for room, messages in stored.items()}
    acknowledged = [each for status in answers for each in status.acknowledged]
    positions = [each for status in answers for each in status.positions]
    counts: dict[str, Any] = {
        "messages missed by official clients": sum(each.lost for each in answers),
        "messages received twice by official clients": sum(each.doubled for each in answers),
        "messages of official clients acknowledged, but not stored like that": sum(
            (seq, message_id, text) not in stored[room] for room, seq, message_id, text in acknowledged
        ),
        "messages of official clients stored twice": sum(sum(each.values()) - len(each) for each in texts.values()),
        "official clients without the last message": sum(
            position != max((seq for seq, _, _ in stored[room]), default=0) for room, position in positions
        ),
        "official clients' connections to a running server lost": sum(sum(each.reasons.values()) for each in answers)
        - CLIENTS,
    }
    if not acknowledged:
        return ["no message of official clients was acknowledged"]
    return [f"{count} {what}" for what, count in counts.items() if count]
