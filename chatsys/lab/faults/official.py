"""A rolling restart under 2,000 clients of the official library, in a few processes of Node.js."""

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
from chatsys.lab.faults.fault import NODE_OPTIONS, Concern, Hit, Need, fault
from chatsys.lab.faults.record import RECOVERY_LIMIT
from chatsys.lab.faults.site import SiteServer
from chatsys.lab.faults.traffic import clock
from chatsys.results.audit import history

SCRIPT = Path(__file__).with_suffix(".mjs")
LIBRARY = files("chatsys.web").joinpath("client/vendor/socket.io.esm.min.js")
CLIENTS, PROCESSES, ROOMS = 2_000, 4, 100
EVERY_MS = 40_000
"""Between two messages of one client: 50 a second in all, 1,000 deliveries a second."""
ARRIVAL, RETURN, ANSWER = 120.0, 30.0, 20.0
"""Seconds that all have to come, to come back, and that a process has for a line."""


class ClientsStatus(msgspec.Struct):
    """What the clients of one process saw; ``reasons`` counts the ends of connections by the library's names."""

    joined: int
    waiting: int
    lost: int
    doubled: int
    reasons: dict[str, int]
    acknowledged: list[tuple[str, int, str, str]] = []
    positions: list[tuple[str, int]] = []


class OfficialClients:
    """The processes. Made by :func:`official_clients`."""

    def __init__(self, processes: Sequence[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    async def request(self, command: str) -> list[ClientsStatus]:
        """The answer of each process. Raises OperatorError if one gives none."""
        return list(await asyncio.gather(*(self._ask(process, command) for process in self._processes)))

    async def _ask(self, process: asyncio.subprocess.Process, command: str) -> ClientsStatus:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(command.encode() + b"\n")
            async with asyncio.timeout(ANSWER):
                return msgspec.json.decode(await process.stdout.readline(), type=ClientsStatus)
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            raise OperatorError(f"A process of official clients gives no answer: {error!r}") from error

    async def until(self, done: Callable[[list[ClientsStatus]], bool], seconds: float, what: str) -> float:
        """Wait until ``done``; the seconds that it took. Raises OperatorError if it took more than ``seconds``."""
        begun = clock()
        while not done(reported := await self.request("status")):
            if clock() > begun + seconds:
                raise OperatorError(f"{what} within {seconds:g} s: {reported}")
            await asyncio.sleep(0.1)
        return clock() - begun


@asynccontextmanager
async def official_clients(urls: Sequence[str], prefix: str) -> AsyncIterator[OfficialClients]:
    """CLIENTS of them, all in their rooms, spread evenly over the servers at ``urls``. Raises OperatorError."""
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
        await clients.until(everybody, ARRIVAL, "2,000 official clients did not all come")
        yield clients
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*(process.wait() for process in processes))


def everybody(reported: Sequence[ClientsStatus]) -> bool:
    """Whether all are in their rooms."""
    return sum(each.joined for each in reported) == CLIENTS


@fault(
    "every server stopped and started in turn under 2,000 official clients",
    Concern.SERVER,
    "Each loses one connection, is back within 5 s and misses nothing.",
    needs=(Need.NODE,),
    seconds=40,
    heavy=True,
)
async def rolling_restart(hit: Hit) -> None:
    """What an update does to clients that nobody wrote for this."""
    prefix = f"official {secrets.token_hex(4)}"
    async with official_clients([server.address() for server in hit.site.servers], prefix) as clients:
        for server in hit.site.servers:
            await server.stop(seconds=10)
            await server.start()
        back = await clients.until(everybody, RETURN, "2,000 official clients did not all come back")
        await asyncio.sleep(1)  # they talk on
        await clients.request("stop")
        await clients.until(
            lambda reported: not any(each.waiting for each in reported), ANSWER, "Messages were not answered"
        )
        short = await asyncio.to_thread(_shortcomings, hit.site.servers[0], await clients.request("stop"))
    if back > RECOVERY_LIMIT:
        short.append(f"official clients were back only after {back:.1f} s")
    if short:
        raise OperatorError("; ".join(short))


def _shortcomings(server: SiteServer, reported: Sequence[ClientsStatus]) -> list[str]:
    """What the clients saw that is not promised; what was acknowledged is looked up in the server's history."""
    stored: dict[str, list[tuple[int, str, str]]] = {}
    for room in {room for each in reported for room, _ in each.positions}:
        stored[room] = [(each.seq, each.id, each.message) for each in history(server.read, room, 0)]
    texts = {room: Counter(text for _, _, text in messages) for room, messages in stored.items()}
    acknowledged = [each for status in reported for each in status.acknowledged]
    positions = [each for status in reported for each in status.positions]
    counts: dict[str, Any] = {
        "missed by official clients": sum(each.lost for each in reported),
        "doubled for official clients": sum(each.doubled for each in reported),
        "acknowledged to official clients and not stored so": sum(
            (seq, message_id, text) not in stored[room] for room, seq, message_id, text in acknowledged
        ),
        "stored twice of official clients": sum(sum(each.values()) - len(each) for each in texts.values()),
        "official clients without the last message": sum(
            position != max((seq for seq, _, _ in stored[room]), default=0) for room, position in positions
        ),
        "connections of official clients lost to a living server": sum(sum(each.reasons.values()) for each in reported)
        - CLIENTS,
    }
    if not acknowledged:
        return ["official clients had no message acknowledged"]
    return [f"{count} {what}" for what, count in counts.items() if count]
