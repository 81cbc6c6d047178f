"""The demonstration: two people chat while the server is killed and restarted; then a short load test.

All files are in one temporary folder, and every process is a child that ends with the demonstration.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from chatsys.client.asynchronous import AsyncClient
from chatsys.database.embedded import embedded_server
from chatsys.errors import OperatorError
from chatsys.lab.loadtest import run as loadtest
from chatsys.lab.loadtest.record import LoadTestPlan
from chatsys.lab.subjects.servers import ServerProcess, chat_server

ROOM = "general"
USERS, SECONDS, INTERVAL, ROOM_SIZE = 100, 20, 2.0, 10
"""The load: users, seconds, the mean seconds between two messages of one user, and users in a room."""

PATIENCE = 10.0
"""Seconds after which an expected message counts as missing."""

LOOK_EVERY = 0.25

Say = Callable[[str], None]


class Speaker:
    """A person in the room, who remembers every message received, with its number."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[tuple[int, str]] = []
        self._epoch: str | None = None
        self._socket: AsyncClient | None = None
        self._arrived = asyncio.Event()

    async def join(self, url: str) -> int:
        """Connect and join, and return the number of messages replayed since the last one seen.

        Raises SocketIOError or OperatorError.
        """
        self._socket = AsyncClient(url, timeout=PATIENCE)
        self._socket.on("receive-message", self._received)
        self._socket.on("message-history", self._remembered)
        await self._socket.connect()
        since = {"since": self.seen[-1][0], "epoch": self._epoch} if self.seen else {}
        who = {"room": ROOM, "username": self.name, "userId": f"guest-{self.name.lower()}"}
        (answer,) = (await self._socket.call("join", who | since)).args
        if not answer["success"]:
            raise OperatorError(f"{self.name} could not join: {answer['message']}.")
        self._epoch = answer["epoch"]
        return int(answer["replayed"]) if since else 0

    async def send(self, text: str, client_message_id: str) -> dict[str, Any]:
        """Send a message, wait until it is stored, and return the acknowledgement. Raises SocketIOError."""
        assert self._socket is not None
        payload = {"message": text, "clientMessageId": client_message_id}
        (answer,) = (await self._socket.call("send-message", payload)).args
        return dict(answer)

    def post(self, text: str, client_message_id: str) -> None:
        """Send a message without waiting for the acknowledgement."""
        assert self._socket is not None
        self._socket.emit("send-message", {"message": text, "clientMessageId": client_message_id})

    async def sees(self, seq: int) -> None:
        """Wait for the message with that number. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while all(number != seq for number, _ in self.seen):
                self._arrived.clear()
                await self._arrived.wait()

    async def notices_the_end(self) -> None:
        """Wait until this side notices that the connection is lost. Raises TimeoutError."""
        assert self._socket is not None
        async with asyncio.timeout(PATIENCE):
            await self._socket.ended.wait()

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            self._socket.abort()

    def _received(self, message: dict[str, Any]) -> None:
        self.seen.append((message["seq"], message["message"]))
        self._arrived.set()

    def _remembered(self, history: list[dict[str, Any]]) -> None:
        self.seen += [(message["seq"], message["message"]) for message in history]
        self._arrived.set()


def run(say: Say) -> int:
    """Run the demonstration. The exit status is 0, 1 if anything was lost, 2 if the machine was too busy to measure."""
    with TemporaryDirectory(prefix="chatsys-demo-") as folder:
        say("chatsys starts a private PostgreSQL and a chat server in a temporary folder.")
        with embedded_server(Path(folder, "postgres")) as url:
            whole = asyncio.run(_conversation(url, say))
            status = _load(url, Path(folder), say)
    say("\nEverything is stopped and removed. `chatsys serve` starts a permanent server: open /chat/ in a browser.")
    return status if whole else 1


async def _conversation(url: str, say: Say) -> bool:
    """Two people chat while the server is killed and restarted. Whether both saw each message once, in order."""
    alice, bob = Speaker("Alice"), Speaker("Bob")
    with ExitStack() as stack:
        for person in (alice, bob):
            stack.callback(person.close)
        with ExitStack() as servers:
            server = await asyncio.to_thread(servers.enter_context, chat_server(url))
            say(f"\nTwo people join the room {ROOM!r} at {server.url}.")
            await alice.join(server.url)
            await bob.join(server.url)
            written = [await _talk(alice, bob, "Are you there?", say)]
            written.append(await _talk(bob, alice, "Yes. What happens if somebody kills the server now?", say))
            unsure = await _kill(server, alice, bob, say)
        written.append(unsure[0])
        port = int(server.url.rpartition(":")[2])
        with ExitStack() as servers:
            began = time.monotonic()
            server = await asyncio.to_thread(servers.enter_context, chat_server(url, port=port))
            say(f"\nThe server is back after {time.monotonic() - began:.1f} s, on the same database.")
            written.append(await _return(server, alice, bob, unsure, say))
            written.append(await _talk(alice, bob, "I have everything.", say))
            written.append(await _talk(bob, alice, "So have I.", say))
            return _compare(written, alice, bob, say)


async def _talk(writer: Speaker, reader: Speaker, text: str, say: Say) -> str:
    """Send a message, wait until the reader has it, and return its text."""
    began = time.perf_counter()
    answer = await writer.send(text, uuid.uuid4().hex)
    if not answer["success"]:
        raise OperatorError(f"A message was not stored: {answer['message']}.")
    await asyncio.gather(writer.sees(answer["seq"]), reader.sees(answer["seq"]))
    milliseconds = (time.perf_counter() - began) * 1000
    say(f"  {writer.name + ':':<7}{text}")
    arrived = "" if reader is writer else f", {reader.name} has it"
    say(f"         stored as number {answer['seq']}{arrived}; {milliseconds:.1f} ms")
    return text


async def _kill(server: ServerProcess, alice: Speaker, bob: Speaker, say: Say) -> tuple[str, str]:
    """Alice sends a message and the server is killed before it answers. Returns the message and its id."""
    text, client_message_id = "Let us see.", uuid.uuid4().hex
    alice.post(text, client_message_id)
    server.kill()
    say(f"  {'Alice:':<7}{text}")
    say(f"\nkill -9 {server.popen.pid}: the server died before it answered. Is it stored? Alice can't know.")
    await asyncio.gather(alice.notices_the_end(), bob.notices_the_end())
    return text, client_message_id


async def _return(server: ServerProcess, alice: Speaker, bob: Speaker, unsure: tuple[str, str], say: Say) -> str:
    """Alice rejoins, resends her message with the same id and sends another one; then Bob rejoins.

    Returns the text of the other message.
    """
    await alice.join(server.url)
    answer = await alice.send(*unsure)
    found = "it was stored before the kill and is not stored again" if answer["duplicate"] else "it is stored now"
    say(f"  Alice rejoins and resends {unsure[0]!r} with the same id: {found}, as number {answer['seq']}.")
    text = "Bob, this is for when you are back."
    await _talk(alice, alice, text, say)
    last = bob.seen[-1][0]
    missed = await bob.join(server.url)
    say(f"  Bob rejoins. The last message that he saw was number {last}, so he gets the {missed} that he missed.")
    return text


def _compare(written: list[str], alice: Speaker, bob: Speaker, say: Say) -> bool:
    """Whether both saw every written message exactly once, in order."""
    expected = list(enumerate(written, 1))
    whole = alice.seen == bob.seen == expected
    if whole:
        count = len(written)
        say(f"\nNothing is missing: {count} messages written, each stored once and received once by both, in order.")
    else:
        say(f"\nMESSAGES ARE MISSING. Written: {expected}; Alice saw {alice.seen}; Bob saw {bob.seen}.")
    return whole


def _load(url: str, folder: Path, say: Say) -> int:
    """Drive a server with simulated users and report each second. Returns the exit status of the verdict."""
    say(f"\n{SECONDS} s of load: {USERS} users in rooms of about {ROOM_SIZE}. Each writes about every {INTERVAL:g} s.")
    plan = LoadTestPlan(
        scenario="steady", users=USERS, store="postgresql", minutes=SECONDS / 60, interval=INTERVAL, room_size=ROOM_SIZE
    )
    with _live_report(folder, say):
        result, _ = loadtest.run(plan, folder / "load", loadtest.Databases(url, folder), lambda _: None)
    driven = result.repetitions[0]
    if driven.locust:
        total = driven.locust["audit"]["total"]
        say(
            f"  {total['sent']:,} messages were sent and {total['stored']:,} stored; "
            f"{total['expected']:,} deliveries were expected and {total['delivered']:,} arrived."
        )
    for reason in driven.reasons:
        say(f"  {reason}")
    say(f"Verdict: {result.verdict}. {_MEANING.get(result.verdict, '')}")
    return loadtest.exit_status(result)


_MEANING = {
    "VALID": "Every message was stored and delivered to each member once, in order.",
    "INVALID": "This machine was too busy to measure; nothing was lost.",
    "FAILED": "Something was lost or went wrong.",
}


@contextmanager
def _live_report(folder: Path, say: Say) -> Iterator[None]:
    """Within the block, report each line that Locust writes."""
    ended = threading.Event()
    follower = threading.Thread(target=_follow, args=(folder, say, ended), daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()


def _follow(folder: Path, say: Say, ended: threading.Event) -> None:
    shown = 0
    while not ended.wait(LOOK_EVERY):
        for samples in folder.glob("load/*/*/samples.jsonl"):
            lines = samples.read_bytes().split(b"\n")[:-1]
            for line in lines[shown:]:
                say(_second(msgspec.json.decode(line)))
            shown = len(lines)


def _second(sample: dict[str, Any]) -> str:
    """One second of the load as a line of text."""

    wrong = sample["failures"] + sum(generator["deviations"] for generator in sample["generators"].values())
    push, timed = sample["push"], "nothing was pushed yet"
    if push:
        timed = f"{push['count']:5,} pushes, p50 {push['p50']:5.1f} ms, p99 {push['p99']:6.1f} ms"
    return f"  {sample['users']:4,} users: {timed}; {f'{wrong} WENT WRONG' if wrong else 'nothing lost'}"
