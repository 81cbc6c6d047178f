"""The operations as a client performs them: HTTP requests over one open connection, Socket.IO events over WebSockets.

Every server gets the same small chat through its own endpoints: a few accounts, and a room with messages of guests.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from chatsys.client.asynchronous import AsyncClient
from chatsys.client.requests import KeptConnection
from chatsys.lab.workloads.operation import NOOP, PAGE, Operation, demand, noop
from chatsys.results.names import FIND_BY_ID, MARK_READ, RECENT, SEARCH, SEND

HTTP = (FIND_BY_ID, RECENT, SEARCH)
SOCKET = (SEND, MARK_READ)
_ACCOUNTS = 8  # each costs a bcrypt hash
_READERS = 16
_ROOM = "lab room"
_TIMEOUT = 30.0


class Guest:
    """A client in a room. ``seqs`` are the sequence numbers of the messages received."""

    def __init__(self, url: str) -> None:
        self.seqs: list[int] = []
        self.socket = AsyncClient(url, timeout=_TIMEOUT)
        self.socket.on("receive-message", self._received)
        self._echoes: deque[asyncio.Future[Any]] = deque()

    async def call(self, event: str, payload: object) -> Any:
        """Send an event and return the argument of its acknowledgement; None if it has none."""
        arguments = (await self.socket.call(event, payload)).args
        return arguments[0] if arguments else None

    async def echo(self, text: str) -> Any:
        """Send a message without requesting an acknowledgement, and return the ``receive-message`` that comes back."""
        waiting = asyncio.get_running_loop().create_future()
        self._echoes.append(waiting)
        self.socket.emit("send-message", {"message": text})
        return await asyncio.wait_for(waiting, _TIMEOUT)

    def _received(self, message: dict[str, Any]) -> None:
        self.seqs.append(message["seq"])
        if self._echoes:
            self._echoes.popleft().set_result(message)


@asynccontextmanager
async def guest(url: str, room: str, name: str) -> AsyncIterator[Guest]:
    """A guest in a room. The connection is closed after the block."""
    joined = Guest(url)
    await joined.socket.connect()
    try:
        await joined.call("join", {"username": name, "room": room})
        yield joined
    finally:
        await joined.socket.close()


@asynccontextmanager
async def operations(url: str) -> AsyncIterator[Mapping[str, Operation]]:
    """Every operation that a client of the server at ``url`` can perform."""
    async with AsyncExitStack() as stack:
        http = KeptConnection(url)
        stack.callback(http.close)
        sender = await stack.enter_async_context(guest(url, _ROOM, "sender"))
        readers = [await stack.enter_async_context(guest(url, _ROOM, f"reader {number}")) for number in range(_READERS)]
        users = [await _register(http, number) for number in range(_ACCOUNTS)]
        messages = [(await sender.call("send-message", {"message": f"message {n}"}))["id"] for n in range(2 * PAGE)]
        for message in messages[-PAGE:]:
            await readers[0].call("message-read", {"messageId": message, "room": _ROOM})
        alone = await stack.enter_async_context(guest(url, f"{_ROOM} {secrets.token_hex(4)}", "alone"))
        yield {
            NOOP: noop(),
            FIND_BY_ID: _find(http, users),
            RECENT: _recent(http, messages),
            SEARCH: _search(http, users),
            SEND: _send(alone),
            MARK_READ: _mark(http, readers[1:], messages),
        }


@asynccontextmanager
async def echo(url: str) -> AsyncIterator[Mapping[str, Operation]]:
    """The baseline: sending to a stock Socket.IO server, which echoes the message and stores nothing."""
    async with guest(url, f"{_ROOM} {secrets.token_hex(4)}", "alone") as alone:
        yield {NOOP: noop(), SEND: _send(alone)}


def _find(http: KeptConnection, users: list[dict[str, Any]]) -> Operation:
    async def call(user: dict[str, Any]) -> bytes:
        return await http.request("GET", f"/api/users/{user['userId']}")

    def check(user: dict[str, Any], answer: bytes) -> None:
        demand(msgspec.json.decode(answer)["user"]["username"] == user["username"], "the requested user")

    return Operation(lambda rng: rng.choice(users), call, check, prepare=http.renew)


def _recent(http: KeptConnection, messages: list[str]) -> Operation:
    async def call(_: object) -> bytes:
        return await http.request("GET", f"/api/rooms/{_ROOM.replace(' ', '%20')}/messages?limit={PAGE}")

    def check(_: object, answer: bytes) -> None:
        page = msgspec.json.decode(answer)["data"]
        demand([message["id"] for message in page] == messages[-PAGE:], "the newest messages in order")

    return Operation(lambda _: None, call, check, prepare=http.renew)


def _search(http: KeptConnection, users: list[dict[str, Any]]) -> Operation:
    async def call(user: dict[str, Any]) -> bytes:
        return await http.request("GET", f"/api/users/search/{user['username'][3:]}")

    def check(user: dict[str, Any], answer: bytes) -> None:
        found = msgspec.json.decode(answer)["results"]
        demand(user["userId"] in {each["userId"] for each in found}, "the user in the results")

    return Operation(lambda rng: rng.choice(users), call, check, prepare=http.renew)


def _send(alone: Guest) -> Operation:
    """Sending, timed until the sender's own echo arrives: latency ends at the receiver."""
    numbers = itertools.count()
    last = 0

    async def call(text: str) -> Any:
        return await alone.echo(text)

    def check(text: str, message: Any) -> None:
        nonlocal last
        demand(message["message"] == text and message["seq"] == last + 1, "the message, next in its room")
        last = message["seq"]

    return Operation(lambda _: f"sent by the lab {next(numbers)}", call, check)


def _mark(http: KeptConnection, readers: list[Guest], messages: list[str]) -> Operation:
    """Marking as read. Each call is a first read until every reader has read every message; then reads repeat."""
    pairs = itertools.cycle(itertools.product(messages, readers))
    marked: set[str] = set()

    async def call(pair: tuple[str, Guest]) -> Any:
        return await pair[1].call("message-read", {"messageId": pair[0], "room": _ROOM})

    def check(pair: tuple[str, Guest], answer: Any) -> None:
        demand(answer["success"], "an acknowledgement of success")
        marked.add(pair[0])

    async def audit() -> None:
        page = await http.request("GET", f"/api/rooms/{_ROOM.replace(' ', '%20')}/messages?limit={len(messages)}")
        read = {message["id"] for message in msgspec.json.decode(page)["data"] if message["readBy"]}
        demand(marked <= read, "each read in the store")

    return Operation(lambda _: next(pairs), call, check, audit, prepare=http.renew)


async def _register(http: KeptConnection, number: int) -> dict[str, Any]:
    name = f"lab{number}_{secrets.token_hex(6)}"
    fields = {"username": name, "email": f"{name}@example.org", "password": "a password"}
    user: dict[str, Any] = msgspec.json.decode(await http.request("POST", "/api/auth/register", fields))["user"]
    return user
