"""The guide's table, measured at the endpoints of servers that already run and speak the documented protocol.

Each server gets the same small chat through its own endpoints. Calls are sequential, and the servers alternate. The
documented protocol acknowledges nothing: a message is timed until the sender's own echo, and a read until its own
update comes back. A wrong answer is a failure and is not timed.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from chatsys.client.asynchronous import AsyncClient
from chatsys.client.errors import ConnectFailed, ConnectionLost
from chatsys.client.requests import KeptConnection, Unanswered
from chatsys.errors import OperatorError
from chatsys.lab.network.address import place
from chatsys.reports.page import Table
from chatsys.results.names import FIND_BY_ID, MARK_READ, RECENT, SEARCH, SEND, TITLES

PREFIX = "load"
"""The prefix of every created account (``load_…``) and room (``load-…``), as in a load test."""
PAGE = 100
ROUNDS = 10
LAG_MS = 20.0
"""Limit for the p99 of this process's timer lag, as in a load test."""
_ACCOUNTS = 4  # each costs a bcrypt hash
_TRIES = 3
_TIMEOUT = 10.0
_OPERATIONS = (FIND_BY_ID, RECENT, MARK_READ, SEARCH, SEND)


class Measured(msgspec.Struct):
    """One operation at one server: milliseconds of each successful call, and how often calls failed by reason."""

    operation: str
    server: str
    ms: list[float] = []
    failures: dict[str, int] = {}


class Found(msgspec.Struct):
    """All measurements, and the p99 of this process's timer lag in milliseconds."""

    measured: list[Measured]
    lag_ms: float

    @property
    def valid(self) -> bool:
        """False if this process was so slow that it measured itself."""
        return self.lag_ms <= LAG_MS


class Registered:
    """A registered user with one connection."""

    def __init__(self, url: str, user: dict[str, Any]) -> None:
        self.user = user
        self.socket = AsyncClient(url, timeout=_TIMEOUT)
        self._waiting: dict[str, tuple[Callable[[Any], bool], asyncio.Future[Any]]] = {}
        for event in ("message-history", "receive-message", "message-read-update"):
            self.socket.on(event, partial(self._received, event))
        self.socket.on("error", lambda *arguments: self._fail(f"it sent the error {list(arguments)}"))

    async def call(self, event: str, payload: object, answer: str, is_ours: Callable[[Any], bool]) -> Any:
        """Send an event and return the first ``answer`` event that ``is_ours`` accepts. Raises Unanswered."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = is_ours, future
        try:
            self.socket.emit(event, payload)
            return await asyncio.wait_for(future, _TIMEOUT)
        except TimeoutError as error:
            raise Unanswered(f"no {answer} in {_TIMEOUT:g} s") from error
        except ConnectionLost as error:
            raise Unanswered(str(error)) from error
        finally:
            del self._waiting[answer]

    async def join(self, room: str) -> None:
        """Join and wait for the history. Raises Unanswered.

        It retries: on some servers a join fails if another client creates the same room at the same time.
        """
        fields = {name: self.user[name] for name in ("username", "userId", "token")}
        for attempt in range(_TRIES):
            try:
                await self.call("join", {"room": room, **fields}, "message-history", lambda _: True)
                return
            except Unanswered:
                if attempt + 1 == _TRIES:
                    raise

    def _received(self, event: str, *arguments: Any) -> None:
        is_ours, future = self._waiting.get(event, (None, None))
        if future is not None and is_ours is not None and not future.done() and is_ours(*arguments):
            future.set_result(arguments[0])

    def _fail(self, why: str) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(Unanswered(why))


Call = Callable[[], Awaitable[None]]


class SmallChat(NamedTuple):
    """The operations of a small chat at one server, and what to call before each repetition."""

    calls: dict[str, Call]
    prepare: Call


@asynccontextmanager
async def small_chat(url: str) -> AsyncIterator[SmallChat]:
    """Create a few accounts and a room with two pages of messages at a server. Raises Unanswered."""
    async with AsyncExitStack() as stack:
        http, room = KeptConnection(url, _TIMEOUT), f"{PREFIX}-{secrets.token_hex(4)}"
        stack.callback(http.close)
        users = [await _register(http) for _ in range(_ACCOUNTS)]
        members = [await stack.enter_async_context(_member(url, user)) for user in users]
        for member in members:
            await member.join(room)
        sender, *readers = members
        texts = itertools.count()

        async def send() -> None:
            text = f"sent by chatsys bench endpoints, {next(texts)}"
            await sender.call("send-message", {"message": text}, "receive-message", lambda m: m.get("message") == text)

        for _ in range(2 * PAGE):
            await send()
        await http.renew()
        page = msgspec.json.decode(await http.request("GET", f"/api/rooms/{room}/messages?limit={2 * PAGE}"))["data"]
        pairs = itertools.cycle(itertools.product([message["id"] for message in page], readers))

        async def mark() -> None:
            message, reader = next(pairs)
            own = reader.user["userId"]
            await reader.call(
                "message-read",
                {"messageId": message, "room": room},
                "message-read-update",
                lambda update: (update.get("messageId"), update.get("readByUser")) == (message, own),
            )

        targets = itertools.cycle(users)

        async def find() -> None:
            user = next(targets)
            found = msgspec.json.decode(await http.request("GET", f"/api/users/{user['userId']}")).get("user") or {}
            _demand(found.get("username") == user["username"])

        async def search() -> None:
            user = next(targets)
            answer = msgspec.json.decode(await http.request("GET", f"/api/users/search/{user['username'][5:]}"))
            _demand(user["userId"] in {each.get("userId") for each in answer.get("results", ())})

        async def recent() -> None:
            answer = msgspec.json.decode(await http.request("GET", f"/api/rooms/{room}/messages?limit={PAGE}"))
            _demand(len(answer.get("data", ())) == PAGE)

        calls: dict[str, Call] = {FIND_BY_ID: find, RECENT: recent, MARK_READ: mark, SEARCH: search, SEND: send}
        yield SmallChat(calls, http.renew)


async def measure(urls: Sequence[str], calls: int, tell: Callable[[str], None]) -> Found:
    """Make ``calls`` calls of each operation at each server, in :data:`ROUNDS` rounds.

    Raises OperatorError if a server does not answer as the protocol says.
    """
    async with AsyncExitStack() as stack:
        chats: dict[str, SmallChat] = {}
        for url in urls:
            tell(f"{place(url)}: {_ACCOUNTS} accounts, {2 * PAGE} messages")
            try:
                chats[place(url)] = await stack.enter_async_context(small_chat(url))
            except (Unanswered, OSError, KeyError, msgspec.DecodeError) as error:
                raise OperatorError(
                    f"{place(url)} does not answer as the protocol says: {error}",
                    hint="`chatsys conformance URL` shows where.",
                ) from error
        found = {(name, server): Measured(name, server) for name in _OPERATIONS for server in chats}
        order = list(chats)
        lags: list[float] = []
        watch = asyncio.create_task(_watch(lags))
        for number in range(ROUNDS):
            tell(f"round {number + 1} of {ROUNDS}")
            for name in _OPERATIONS:
                for server in order:
                    await _repeat(found[name, server], chats[server], -(-calls // ROUNDS))
            order.reverse()
        watch.cancel()
    return Found(list(found.values()), float(np.quantile(np.array(lags), 0.99)))


async def _watch(lags: list[float]) -> None:
    """Append how late each timer fires, in ms."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append((time.perf_counter() - begun) * 1000 - 10)


async def _repeat(measured: Measured, chat: SmallChat, times: int) -> None:
    call = chat.calls[measured.operation]
    try:
        await chat.prepare()
    except OSError as error:
        measured.failures[str(error)] = measured.failures.get(str(error), 0) + 1
        return
    for _ in range(times):
        begun = time.perf_counter()
        try:
            await call()
        except (Unanswered, msgspec.DecodeError) as error:
            why = str(error)
            measured.failures[why] = measured.failures.get(why, 0) + 1
            if why.startswith("no "):  # a timeout: each further call would take as long
                return
        else:
            measured.ms.append((time.perf_counter() - begun) * 1000)


def table(measured: Sequence[Measured]) -> Table:
    """A row for each operation: for each server the median and the 99th percentile, or why there is none."""
    servers = list(dict.fromkeys(each.server for each in measured))
    cells = {(each.operation, each.server): _cell(each) for each in measured}
    rows = [(TITLES[name], *(cells[name, server] for server in servers)) for name in _OPERATIONS]
    return Table(header=("median, p99 in ms", *servers), rows=rows, align="l" + "r" * len(servers))


def _cell(measured: Measured) -> str:
    failed = ", ".join(f"{count} x {why}" for why, count in measured.failures.items())
    if not measured.ms:
        return f"failed: {failed}"
    median, late = np.quantile(np.array(measured.ms), (0.5, 0.99))
    return f"{median:.2f}, {late:.2f}" + (f" ({failed})" if failed else "")


def _demand(right: bool) -> None:
    if not right:
        raise Unanswered("a wrong answer")


async def _register(http: KeptConnection) -> dict[str, Any]:
    name = f"{PREFIX}_{secrets.token_hex(8)}"
    fields = {"username": name, "email": f"{name}@load.example", "password": secrets.token_hex(8)}
    answer = msgspec.json.decode(await http.request("POST", "/api/auth/register", fields))
    return {"username": name, "userId": answer["user"]["userId"], "token": answer["token"]}


@asynccontextmanager
async def _member(url: str, user: dict[str, Any]) -> AsyncIterator[Registered]:
    member = Registered(url, user)
    try:
        await member.socket.connect()
    except ConnectFailed as error:
        raise Unanswered(str(error)) from error
    try:
        yield member
    finally:
        await member.socket.close()
