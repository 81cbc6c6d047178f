"""Steady traffic: people in rooms who send at a constant rate, reconnect, and record everything that they see."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from chatsys.client.asynchronous import AsyncClient
from chatsys.client.errors import SocketIOError
from chatsys.client.namespace import Acknowledged
from chatsys.results.audit import AuditedMessage
from chatsys.results.history import ClientDiary, History, JoinedEntry, Listed, Pushed, Sending
from chatsys.results.stamps import now, text_of

OPEN_TIMEOUT = 5.0
ANSWER_TIMEOUT = 10.0
RETRY_DELAY = 0.25
"""Seconds after which a refused message or join is tried again."""
RESEND_DELAY = 8.0
"""Seconds without an answer after which a message is sent again."""
MAX_UNACKNOWLEDGED = 64
"""Messages of one person that may wait for an acknowledgement at once."""
clock = time.monotonic


class Confirmed(NamedTuple):
    """One acknowledged message: who sent it, when it was due, and the seconds until its acknowledgement."""

    person: int
    due: float
    seconds: float


class Person:
    """One client. ``server`` returns the address for a connection; ``thrown_out`` has the times of lost connections."""

    def __init__(self, traffic: SteadyTraffic, number: int, room: str, server: Callable[[], str]) -> None:
        self.number = number
        self.room = room
        self.server = server
        self.thrown_out: list[float] = []
        self.slowest_answer = 0.0
        self.last_seq = 0
        self.record = ClientDiary(f"guest-{traffic.run}-{number}", room)
        self.socket: AsyncClient | None = None
        self._traffic = traffic
        self._unacknowledged: dict[str, Sending] = {}
        self._due: dict[str, float] = {}
        self.joined = False
        """Whether this person is in the room now."""

    @property
    def waiting(self) -> int:
        """How many messages wait for their acknowledgement."""
        return len(self._unacknowledged)

    async def stay(self) -> None:
        """Stay in the room until cancelled, and rejoin after each lost connection."""
        while True:
            try:
                await self._visit()
            except SocketIOError:
                pass
            finally:
                self.joined = False
                if self.socket is not None:
                    socket, self.socket = self.socket, None
                    socket.abort()
            await asyncio.sleep(RETRY_DELAY)

    async def _visit(self) -> None:
        """Connect, join, and return when the connection is lost."""
        self.socket = socket = AsyncClient(self.server(), timeout=OPEN_TIMEOUT)
        socket.on("receive-message", self._pushed)
        socket.on("message-history", self._history)
        socket.on("room-users", self._listed)
        await socket.connect()
        while not await self._join(socket):  # noqa: ASYNC110 - each pass tries to join
            await asyncio.sleep(RETRY_DELAY)
        for token in list(self._unacknowledged):
            self._transmit(socket, token)
        await socket.ended.wait()
        self.thrown_out.append(clock())

    async def _join(self, socket: AsyncClient) -> bool:
        payload: dict[str, Any] = {"room": self.room, "username": f"p{self.number}", "userId": self.record.user}
        if self.record.diary:
            payload["since"] = self.last_seq
        (answer,) = (await socket.call("join", payload, timeout=ANSWER_TIMEOUT)).args
        if not answer.get("success"):
            return False
        joined = next(entry for entry in reversed(self.record.diary) if isinstance(entry, JoinedEntry))
        joined.complete = bool(answer.get("complete", True))
        self.joined = True
        return True

    # -- sending

    def send(self, due: float) -> None:
        """Send one message that was due at ``due``. It is sent again until it is acknowledged."""
        if len(self._unacknowledged) >= MAX_UNACKNOWLEDGED:
            return
        at = now()
        token = self._traffic.token()
        text = text_of(self._traffic.run, token, at, at)
        sending = Sending(token, self.room, text, clock())
        self._unacknowledged[token], self._due[token] = sending, due
        self._traffic.history.sendings.append(sending)
        if self.socket is not None and self.joined:
            with suppress(SocketIOError):
                self._transmit(self.socket, token)

    def _transmit(self, socket: AsyncClient, token: str) -> None:
        sending = self._unacknowledged.get(token)
        if sending is None or socket is not self.socket:
            return
        sent_at = clock()

        def answered(outcome: Acknowledged | SocketIOError) -> None:
            resend.cancel()
            if isinstance(outcome, SocketIOError):
                return
            (answer,) = outcome.args
            self.slowest_answer = max(self.slowest_answer, clock() - sent_at)
            if answer.get("success"):
                self._acknowledged(sending, answer)
            else:
                self._traffic.refusals[str(answer.get("code"))] = self._traffic.refusals.get(str(answer["code"]), 0) + 1
                self._transmit_later(RETRY_DELAY, socket, token)

        resend = self._transmit_later(RESEND_DELAY, socket, token)
        try:
            socket.emit("send-message", {"message": sending.text, "clientMessageId": token}, then=answered)
        except SocketIOError:
            resend.cancel()
            raise

    def _acknowledged(self, sending: Sending, answer: dict[str, Any]) -> None:
        sending.answers.append((answer["seq"], answer["id"]))
        if self._unacknowledged.pop(sending.token, None) is not None:
            sending.acked_at = clock()
            due = self._due.pop(sending.token)
            self._traffic.acknowledged.append(Confirmed(self.number, due, sending.acked_at - due))

    def _transmit_later(self, seconds: float, socket: AsyncClient, token: str) -> asyncio.TimerHandle:
        def transmit() -> None:
            with suppress(SocketIOError):
                self._transmit(socket, token)

        return asyncio.get_running_loop().call_later(seconds, transmit)

    # -- receiving

    def _pushed(self, payload: dict[str, Any]) -> None:
        message = AuditedMessage(payload["id"], payload["seq"], payload["message"])
        self.record.diary.append(Pushed(message))
        self.last_seq = max(self.last_seq, message.seq)

    def _history(self, payload: list[dict[str, Any]]) -> None:
        diary = self.record.diary
        history = [AuditedMessage(each["id"], each["seq"], each["message"]) for each in payload]
        rejoined = any(isinstance(entry, JoinedEntry) for entry in diary)
        if history:
            self.last_seq = max(self.last_seq, history[-1].seq)
        diary.append(JoinedEntry(history[-1].seq if history else 0, rejoined, history if rejoined else []))

    def _listed(self, payload: list[dict[str, Any]]) -> None:
        self.record.diary.append(Listed([each["userId"] for each in payload]))


class SteadyTraffic:
    """Rooms with people who send. An async context manager: the people join on entry and leave on exit."""

    def __init__(self, servers: Sequence[Callable[[], str]], *, rooms: int, size: int, every: float, seed: int) -> None:
        self.run = secrets.token_hex(4)
        self.history = History(self.run)
        self.acknowledged: list[Confirmed] = []
        self.refusals: dict[str, int] = {}
        self.rooms = [f"fault {self.run} {number}" for number in range(rooms)]
        self._every = every
        self._rng = random.Random(seed)  # noqa: S311 - draws of an experiment
        self._tokens = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = True
        self.people = [
            Person(self, number, self.rooms[number % rooms], servers[number // rooms % len(servers)])
            for number in range(rooms * size)
        ]
        self.history.clients = [person.record for person in self.people]

    async def __aenter__(self) -> SteadyTraffic:
        for person in self.people:
            self.spawn(person.stay())
        await self.until(lambda: all(person.joined for person in self.people), 20)
        for person in self.people:
            self.spawn(self._keep_sending(person))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def token(self) -> str:
        """A unique id for a new message."""
        self._tokens += 1
        return f"{self.run}-{self._tokens:x}"

    def spawn(self, work: Any) -> None:
        """Run ``work`` in the background until it or the traffic ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def in_room(self, room: str) -> list[Person]:
        """The people of a room."""
        return [person for person in self.people if person.room == room]

    async def finish(self, seconds: float) -> bool:
        """Stop sending, and wait until everything is acknowledged and delivered; False if not within ``seconds``."""
        self._sending = False
        return await self.until(self._settled, seconds)

    def _settled(self) -> bool:
        newest = {room: max((person.last_seq for person in self.in_room(room)), default=0) for room in self.rooms}
        return all(
            person.joined and not person.waiting and person.last_seq >= newest[person.room] for person in self.people
        )

    async def until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``done`` returns true; False if it does not within ``seconds``."""
        deadline = clock() + seconds
        while not done():
            if clock() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _keep_sending(self, person: Person) -> None:
        due = clock() + self._rng.random() * self._every
        while self._sending:
            await asyncio.sleep(max(0.0, due - clock()))
            if self._sending:
                person.send(due)
            due += self._every
