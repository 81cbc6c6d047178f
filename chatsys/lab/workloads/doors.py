"""The operations as a client performs them: HTTP requests over one kept connection, Socket.IO events over WebSockets.

Every server gets the same small chat through its own doors: a few accounts, and a room of guests' messages.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from chatsys.lab.workloads.operation import (
    FIND_BY_ID,
    MARK_READ,
    NOOP,
    PAGE,
    RECENT,
    SEARCH,
    SEND,
    Operation,
    demand,
    noop,
)

HTTP = (FIND_BY_ID, RECENT, SEARCH)
SOCKET = (SEND, MARK_READ)
_ACCOUNTS = 8  # each costs a bcrypt hash
_READERS = 16
_ROOM = "lab doors"
_TIMEOUT = 30.0


class Http:
    """One kept connection. Requests on it follow one another."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)

    async def connect(self) -> None:
        """Begin with a new connection: a server closes one that was idle between two turns."""
        self._reader, self._writer = await asyncio.open_connection(*self._address)

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of the answer to a request."""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        return await self._reader.readexactly(length)


class Client:
    """One Socket.IO client over a WebSocket. ``seqs`` are the sequence numbers of the messages that came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.seqs: list[int] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._acks: dict[int, asyncio.Future[Any]] = {}
        self._echoes: deque[asyncio.Future[Any]] = deque()
        self._task = asyncio.create_task(self._listen())

    async def call(self, event: str, payload: object) -> Any:
        """Send an event; the one argument of its acknowledgement."""
        number = next(self._numbers)
        waiting = self._acks[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(f"42{number}{_json([event, payload])}")
        return await asyncio.wait_for(waiting, _TIMEOUT)

    async def echo(self, text: str) -> Any:
        """Send a message without asking for an acknowledgement; the ``receive-message`` that comes back."""
        waiting = asyncio.get_running_loop().create_future()
        self._echoes.append(waiting)
        await self._socket.send("42" + _json(["send-message", {"message": text}]))
        return await asyncio.wait_for(waiting, _TIMEOUT)

    async def close(self) -> None:
        """Leave. What still comes is read: with a full queue the server's answer would not be seen."""
        await self._socket.close()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        async for packet in self._socket:
            text = packet if isinstance(packet, str) else packet.decode()
            if text == "2":
                await self._socket.send("3")
            elif text.startswith("43"):
                start = text.index("[")
                arguments = msgspec.json.decode(text[start:])  # a handler that returns nothing gives none
                self._acks.pop(int(text[2:start])).set_result(arguments[0] if arguments else None)
            elif text.startswith('42["receive-message"'):
                message = msgspec.json.decode(text[2:])[1]
                self.seqs.append(message["seq"])
                if self._echoes:
                    self._echoes.popleft().set_result(message)


@asynccontextmanager
async def client(url: str, room: str, name: str) -> AsyncIterator[Client]:
    """A guest in a room, and its connection closed at the end."""
    address = urlsplit(url)._replace(scheme="ws", path="/socket.io/", query="EIO=4&transport=websocket").geturl()
    socket = await connect(address, compression=None, max_size=None)
    await socket.recv()
    await socket.send("40")
    await socket.recv()
    joined = Client(socket)
    try:
        await joined.call("join", {"username": name, "room": room})
        yield joined
    finally:
        await joined.close()


@asynccontextmanager
async def operations(url: str) -> AsyncIterator[Mapping[str, Operation]]:
    """Every operation that a client of the server at ``url`` can perform."""
    async with AsyncExitStack() as stack:
        http = Http(url)
        await http.connect()
        sender = await stack.enter_async_context(client(url, _ROOM, "sender"))
        readers = [
            await stack.enter_async_context(client(url, _ROOM, f"reader {number}")) for number in range(_READERS)
        ]
        users = [await _register(http, number) for number in range(_ACCOUNTS)]
        messages = [(await sender.call("send-message", {"message": f"message {n}"}))["id"] for n in range(2 * PAGE)]
        for message in messages[-PAGE:]:
            await readers[0].call("message-read", {"messageId": message, "room": _ROOM})
        alone = await stack.enter_async_context(client(url, f"{_ROOM} {secrets.token_hex(4)}", "alone"))
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
    """Sending a message to a stock Socket.IO server that sends it back and keeps nothing: the floor."""
    socket_room = f"{_ROOM} {secrets.token_hex(4)}"
    address = urlsplit(url)._replace(scheme="ws", path="/socket.io/", query="EIO=4&transport=websocket").geturl()
    async with connect(address, compression=None, max_size=None) as socket:
        await socket.recv()
        await socket.send("40")
        await socket.recv()
        alone = Client(socket)
        await alone.call("join", {"username": "alone", "room": socket_room})
        yield {NOOP: noop(), SEND: _send(alone)}
        await alone.close()


def _find(http: Http, users: list[dict[str, Any]]) -> Operation:
    async def call(user: dict[str, Any]) -> bytes:
        return await http.ask("GET", f"/api/users/{user['userId']}")

    def check(user: dict[str, Any], answer: bytes) -> None:
        demand(msgspec.json.decode(answer)["user"]["username"] == user["username"], "the user that was asked for")

    return Operation(lambda luck: luck.choice(users), call, check, prepare=http.connect)


def _recent(http: Http, messages: list[str]) -> Operation:
    async def call(_: object) -> bytes:
        return await http.ask("GET", f"/api/rooms/{_ROOM.replace(' ', '%20')}/messages?limit={PAGE}")

    def check(_: object, answer: bytes) -> None:
        page = msgspec.json.decode(answer)["data"]
        demand([message["id"] for message in page] == messages[-PAGE:], "the newest messages in order")

    return Operation(lambda _: None, call, check, prepare=http.connect)


def _search(http: Http, users: list[dict[str, Any]]) -> Operation:
    async def call(user: dict[str, Any]) -> bytes:
        return await http.ask("GET", f"/api/users/search/{user['username'][3:]}")

    def check(user: dict[str, Any], answer: bytes) -> None:
        found = msgspec.json.decode(answer)["results"]
        demand(user["userId"] in {each["userId"] for each in found}, "the user that was looked for")

    return Operation(lambda luck: luck.choice(users), call, check, prepare=http.connect)


def _send(alone: Client) -> Operation:
    """Timed from the event to the sender's own echo: latency ends at the receiver."""
    numbers = itertools.count()
    last = 0

    async def call(text: str) -> Any:
        return await alone.echo(text)

    def check(text: str, message: Any) -> None:
        nonlocal last
        demand(message["message"] == text and message["seq"] == last + 1, "the message, next in its room")
        last = message["seq"]

    return Operation(lambda _: f"sent by the lab {next(numbers)}", call, check)


def _mark(http: Http, readers: list[Client], messages: list[str]) -> Operation:
    """Each call is a first read, until every reader has read every message; then reads are repeated."""
    pairs = itertools.cycle(itertools.product(messages, readers))
    marked: set[str] = set()

    async def call(pair: tuple[str, Client]) -> Any:
        return await pair[1].call("message-read", {"messageId": pair[0], "room": _ROOM})

    def check(pair: tuple[str, Client], answer: Any) -> None:
        demand(answer["success"], "an acknowledgement of success")
        marked.add(pair[0])

    async def audit() -> None:
        page = await http.ask("GET", f"/api/rooms/{_ROOM.replace(' ', '%20')}/messages?limit={len(messages)}")
        read = {message["id"] for message in msgspec.json.decode(page)["data"] if message["readBy"]}
        demand(marked <= read, "each read in the store")

    return Operation(lambda _: next(pairs), call, check, audit, prepare=http.connect)


async def _register(http: Http, number: int) -> dict[str, Any]:
    name = f"lab{number}_{secrets.token_hex(6)}"
    body = _json({"username": name, "email": f"{name}@example.org", "password": "a password"}).encode()
    user: dict[str, Any] = msgspec.json.decode(await http.ask("POST", "/api/auth/register", body))["user"]
    return user


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
