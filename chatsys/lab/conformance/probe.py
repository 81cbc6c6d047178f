"""The names, accounts, requests and clients of one check. All connections are closed at its end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from chatsys.lab.conformance.http import Answer, Http
from chatsys.lab.conformance.shapes import CheckFailed, same, short
from chatsys.lab.conformance.sockets import FENCE, Client, Raw

GRACE = 0.3
"""Seconds to wait after a fence for late events that must not arrive."""

JOINS = 3
"""Attempts for a join that is not itself under test. On some servers the first join of a new room may fail."""

PASSWORD = "correct horse"  # noqa: S105 - for test accounts


@dataclass(kw_only=True)
class Target:
    """The server under test: its address, the sockets' transport, the prefix of every name, and whether it has §14."""

    url: str
    transport: str
    prefix: str
    additions: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckAccount:
    """An account created for the check, as the server's answer describes it."""

    username: str
    email: str
    password: str
    user: dict[str, Any]
    token: str

    @property
    def user_id(self) -> str:
        """The account's id."""
        return str(self.user["userId"])


class CheckProbe:
    """The connections of one running check. ``trace`` records what was sent and received."""

    def __init__(self, target: Target, number: int) -> None:
        self.target = target
        self.trace: list[str] = []
        self._number = number
        self._names = 0
        self._stack = AsyncExitStack()
        self.http = Http(target.url, self.trace)

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self.http.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def name(self) -> str:
        """An unused name, valid for users and for rooms."""
        self._names += 1
        return f"{self.target.prefix}_{self._number:03}_{self._names}"

    room = name

    # -- HTTP

    async def read(self, path: str) -> dict[str, Any]:
        """The body of a GET. Raises CheckFailed for a status other than 200."""
        return (await self.http.get(path)).is_status(200).body

    async def register(self, fields: dict[str, Any]) -> Answer:
        """Register an account with exactly these fields."""
        return await self.http.post("/api/auth/register", fields)

    def fields(self, **more: Any) -> dict[str, Any]:
        """The fields of a registration, overridden by ``more``. A field whose value is ``...`` is left out."""
        name = self.name()
        fields = {"username": name, "email": f"{name}@example.org", "password": PASSWORD} | more
        return {key: value for key, value in fields.items() if value is not ...}

    async def account(self, **more: Any) -> CheckAccount:
        """A new account. Raises CheckFailed if the server refuses it."""
        fields = self.fields(**more)
        answer = (await self.register(fields)).is_status(201)
        user, token = answer.body.get("user"), answer.body.get("token")
        if not isinstance(user, dict) or "userId" not in user or not isinstance(token, str):
            raise CheckFailed(f"the answer of a registration lacks user.userId or token: {short(answer.body)}")
        username, email, password = (str(fields[key]) for key in ("username", "email", "password"))
        return CheckAccount(username=username, email=email, password=password, user=user, token=token)

    async def login(self, username: Any, password: Any = PASSWORD) -> Answer:
        """Request a token."""
        return await self.http.post("/api/auth/login", {"username": username, "password": password})

    async def profile(self, account: CheckAccount) -> dict[str, Any]:
        """The account's public profile. Raises CheckFailed if there is none."""
        user = (await self.read(f"/api/users/{account.user_id}")).get("user")
        if not isinstance(user, dict) or not user:
            raise CheckFailed(f"GET /api/users/:userId answered with the user {short(user)}")
        return user

    async def change(self, account: CheckAccount, fields: Any) -> Answer:
        """Change the account's own profile."""
        return await self.http.request("PUT", f"/api/users/{account.user_id}", fields, token=account.token)

    async def delete(self, account: CheckAccount) -> Answer:
        """Delete the account."""
        return await self.http.request("DELETE", f"/api/users/{account.user_id}", token=account.token)

    async def deleted_account(self) -> CheckAccount:
        """An account that was created and deleted. Raises CheckFailed if the server refuses that."""
        account = await self.account()
        (await self.delete(account)).is_status(200)
        return account

    async def messages(self, room: str, query: str = "") -> list[dict[str, Any]]:
        """The room's messages (§6.3), without fences. Raises CheckFailed if the answer has no list."""
        data = (await self.read(room_path(room, f"messages{query}"))).get("data")
        if not isinstance(data, list):
            raise CheckFailed(f"the messages of a room are {short(data)}, not a list")
        return [each for each in data if not str(each.get("message", "")).startswith(FENCE)]

    async def texts(self, room: str, query: str = "") -> list[str]:
        """The texts of the room's messages, without fences. Raises CheckFailed if the answer has no list."""
        return [message["message"] for message in await self.messages(room, query)]

    async def stats(self, room: str) -> dict[str, Any]:
        """The room's counts (§6.4). Raises CheckFailed for a status other than 200."""
        return dict((await self.read(room_path(room, "stats")))["data"])

    async def rooms(self) -> list[dict[str, Any]]:
        """All rooms (§6.1), read page by page. Raises CheckFailed for a status other than 200."""
        found: list[dict[str, Any]] = []
        path = "/api/rooms"
        for _ in range(1000):
            body = await self.read(path)
            found += body["data"]
            if "next" not in body:
                break
            path = f"/api/rooms?after={quote(str(body['next']), safe='')}"
        return found

    async def room_entry(self, room: str) -> dict[str, Any]:
        """One room's element in the list of §6.1. Raises CheckFailed if the room is not listed."""
        for entry in await self.rooms():
            if entry.get("name") == room:
                return entry
        raise CheckFailed(f"GET /api/rooms does not list the room {room}")

    # -- Socket.IO

    async def client(self, name: str = "Ann", transport: str = "") -> Client:
        """A connected client that has not joined a room. The report calls it ``name``."""
        client = Client(self.target.url, transport or self.target.transport, name, self.trace)
        self._stack.push_async_callback(client.close)
        await client.connect()
        return client

    async def raw(self, query: str = "EIO=4&transport=websocket") -> Raw:
        """An open WebSocket that has sent nothing yet."""
        raw = Raw(self.trace)
        self._stack.push_async_callback(raw.close)
        await raw.connect(self.target.url, query)
        return raw

    async def opened(self) -> Raw:
        """A WebSocket that is connected to the default namespace."""
        raw = await self.raw()
        await raw.next("0{")
        await raw.send("40")
        await raw.next("40{")
        return raw

    async def join(self, client: Client, room: str, **fields: Any) -> None:
        """Join a room in at most ``JOINS`` attempts. Raises CheckFailed if all of them fail."""
        for attempt in range(JOINS):
            histories, errors = len(client.all("message-history")), len(client.all("error"))
            await client.emit("join", {"room": room, **fields})
            await client.until(partial(_answered, client, histories, errors), "message-history or error after a join")
            if len(client.all("message-history")) > histories:
                return
            await asyncio.sleep(0.2 * (attempt + 1))
        raise CheckFailed(f"{client.name} cannot join: the server answered with error {JOINS} times")

    async def member(self, room: str = "", name: str = "Ann", account: CheckAccount | None = None) -> CheckedMember:
        """A registered user who has joined the room, or a new room."""
        room = room or self.room()
        account = account or await self.account()
        client = await self.client(name)
        await self.join(client, room, username=account.username, token=account.token)
        return CheckedMember(client, account, room)

    async def members(self, *names: str) -> list[CheckedMember]:
        """Registered users who have joined a new room one after the other. The report calls them ``names``."""
        room = self.room()
        return [await self.member(room, name) for name in names]

    async def guest(self, room: str = "", **fields: Any) -> Client:
        """A guest who has joined the room, or a new room. Raises CheckFailed if guests cannot join."""
        client = await self.client("Guest")
        await self.join(client, room or self.room(), **({"username": self.name()} | fields))
        return client

    async def settle(self, *members: CheckedMember) -> None:
        """Wait until these members have received all that the server sent to their room before now, plus ``GRACE``."""
        for member in members:
            self._names += 1
            await member.client.fence(f"{self._number}_{self._names}")
        await asyncio.sleep(GRACE)

    async def gets_no(self, event: str, *members: CheckedMember) -> None:
        """Raises CheckFailed if one of these members has received such an event, or does so in ``GRACE``."""
        await self.settle(*members)
        for member in members:
            same(member.client.all(event), [], f"{event} to {member.client.name}")


def _answered(client: Client, histories: int, errors: int) -> bool:
    return len(client.all("message-history")) > histories or len(client.all("error")) > errors


def room_path(room: str, what: str) -> str:
    """The path of what belongs to a room, such as its ``messages``."""
    return f"/api/rooms/{quote(room, safe='')}/{what}"


@dataclass(frozen=True)
class CheckedMember:
    """A client in a room, with its account."""

    client: Client
    account: CheckAccount
    room: str

    @property
    def user_id(self) -> str:
        """The account's id."""
        return self.account.user_id

    def who(self, *keys: str) -> dict[str, Any]:
        """The account's names and id as events show them, and the further ``keys`` of its profile."""
        return {key: self.account.user[key] for key in ("username", "displayName", "userId", *keys)}

    async def says(self, text: str) -> dict[str, Any]:
        """Send a message, wait for its echo and return it."""
        await self.client.emit("send-message", {"message": text})
        return await self.client.text(text)
