"""Rooms without sockets: servers that share one memory store and a bus that can lose events."""

from __future__ import annotations

import asyncio
import functools
import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chatsys.bus.contract import Bus, Receiver
from chatsys.chat import operations
from chatsys.chat.bundle import Chat, open_chat
from chatsys.engine.scheduler import FairScheduler, SendQueue
from chatsys.engine.shared import Memory
from chatsys.model.values import Message, NewMessage, Session
from chatsys.protocol.events import ClientEvent
from chatsys.protocol.packets import Outgoing
from chatsys.realtime.fanout import SocketFanout
from chatsys.realtime.routes import Routes
from chatsys.realtime.sequence import Member
from chatsys.realtime.welcomes import Welcomes
from chatsys.store.memory import MemoryStore
from chatsys.wire import catalogue


class Wire:
    """A bus in this process, with rooms as channels. While ``cut`` is set, it loses everything silently."""

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.cut = False
        self.carried: list[dict[str, Any]] = []

    def end(self, receiver: Receiver) -> End:
        end = End(self, receiver)
        self.ends.append(end)
        return end

    def kinds(self, room: str) -> list[str]:
        """Return the kinds of events of a room that the bus has carried so far."""
        return [event["type"] for event in self.carried if event["room"] == room]

    def report_gap(self) -> None:
        for end in self.ends:
            end.receiver.missed(None)


class End(Bus):
    """One server's end of the bus. A join waits for ``known``, if it is set."""

    deaf = False

    def __init__(self, wire: Wire, receiver: Receiver) -> None:
        self.wire = wire
        self.receiver = receiver
        self.rooms: set[str] = set()
        self.known: asyncio.Event | None = None
        self.calls: list[tuple[str, Sequence[str] | None]] = []

    def enter(self, room: str) -> asyncio.Event | None:
        self.rooms.add(room)
        return self.known

    def leave(self, room: str) -> None:
        self.rooms.discard(room)

    def others(self, room: str, servers: Sequence[str] | None) -> Sequence[str]:
        self.calls.append((room, servers))
        return ["others"] if any(room in end.rooms for end in self.wire.ends if end is not self) else []

    def send(self, room: str, event: bytes, others: Sequence[str]) -> None:
        self.wire.carried.append(json.loads(event))
        asyncio.get_running_loop().call_soon(self._arrive, room, event, self.wire.cut)

    def _arrive(self, room: str, event: bytes, lost: bool) -> None:
        for end in self.wire.ends:
            if end is not self and not lost and room in end.rooms:
                end.receiver.received(room, event)


@functools.lru_cache(maxsize=10_000)
def decoded(out: Outgoing) -> tuple[bool, list[Any]]:
    """Return whether a packet is an event, and its content. A broadcast is decoded once for all members."""
    data = out.packet.data
    return data.startswith("2"), json.loads(data[data.index("[") :])


class FakeConnection:
    """Stands for a connection and records what is sent to it.

    ``behind`` stays set until the test reads. ``came`` is when its next events arrived. ``answers`` are its
    acknowledgements. ``unread`` counts the bytes that it has not read yet.
    """

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        self.send_queue: SendQueue | None = None
        self.member: Member | None = None
        self.ended = ""
        self.behind = False
        self.came = 0.0
        self.unread = 0
        self.answers: list[Any] = []
        self.socket_id = uuid.uuid4().hex

    def push(self, out: Outgoing) -> None:
        assert not self.behind or b"receive-message" not in out.frame
        self.send(out)

    def hold_back(self) -> None:
        self.behind = True

    def waiting_bytes(self) -> int:
        return self.unread

    def send(self, out: Outgoing, *, requested: bool = False) -> None:
        is_event, content = decoded(out)
        if is_event:
            self.received.append((content[0], content[1]))
        else:
            self.answers += content

    answer = send

    def end(self, reason: str) -> None:
        self.ended = reason

    def names(self) -> list[str]:
        return [name for name, _ in self.received]

    def seqs(self) -> list[int]:
        return [payload["seq"] for name, payload in self.received if name == "receive-message"]

    def users(self) -> list[str]:
        """Return the newest list."""
        return [
            user["username"]
            for user in next(payload for name, payload in reversed(self.received) if name == "room-users")
        ]


class Server:
    """A server without sockets."""

    def __init__(self, chat: Chat, fanout: SocketFanout, memory: Memory) -> None:
        self.chat = chat
        self.fanout = fanout
        self.memory = memory
        self.routes = Routes(chat, fanout, Welcomes(64))

    async def enter(self, room: str, name: str = "", token: str = "") -> tuple[FakeConnection, Session]:
        """Let a guest of that name or an account join."""
        client = FakeConnection()
        join = ClientEvent(name=catalogue.JOIN, payload={"room": room, "username": name, "token": token}, ack_id=None)
        await self.routes.dispatch(client, [join])  # type: ignore[arg-type]
        assert client.member is not None
        return client, client.member.session

    async def send(self, client: FakeConnection, name: str, payload: Any = None) -> None:
        """Send an event as a client."""
        await self.routes.dispatch(client, [ClientEvent(name=name, payload=payload, ack_id=None)])  # type: ignore[arg-type]

    async def store_only(self, session: Session, text: str = "x") -> Message:
        """Store a message as a server does that dies before it publishes it."""
        new = NewMessage(
            message_id=str(uuid.uuid4()), room=session.room, who=session.who, text=text, at=self.chat.clock.now()
        )
        return (await self.chat.store.post_message(new)).message


Make = Any


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def make_server(wire: Wire) -> AsyncIterator[Make]:
    """Make servers on one store, connected by ``wire``."""
    store = MemoryStore()
    async with AsyncExitStack() as stack:

        async def make() -> Server:
            fanout = SocketFanout()
            chat = await stack.enter_async_context(open_chat(store, secret="s" * 32, fanout=fanout))
            await operations.heartbeat(chat)
            stack.callback(fanout.stop)
            memory = Memory(10_000_000, lambda: 1)
            fanout.bind(chat, FairScheduler(asyncio.get_running_loop()), memory)
            fanout.peers.bus = wire.end(fanout.peers)
            await settle()
            return Server(chat, fanout, memory)

        yield make


async def settle(until: Callable[[], bool] | None = None) -> None:
    """Run everything that is ready; with ``until``, run until it is true."""
    for _ in range(50):
        await asyncio.sleep(0)
    if until is not None:
        async with asyncio.timeout(30):
            while not until():
                await asyncio.sleep(0.01)
