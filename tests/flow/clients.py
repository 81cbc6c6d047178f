"""Clients for the flow tests: the official library's client with a diary, and a bare WebSocket that may misbehave."""

from __future__ import annotations

import asyncio
import functools
import json
import uuid
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx
import socketio

WAIT = 30.0
"""Seconds until an expected event counts as missing."""


get, post = functools.partial(httpx.get, timeout=WAIT), functools.partial(httpx.post, timeout=WAIT)


def http_client(url: str, **options: Any) -> httpx.AsyncClient:
    """Return an HTTP client for a server's REST API, with the same patience as for anything else."""
    return httpx.AsyncClient(base_url=url, timeout=WAIT, **options)


def fresh(prefix: str = "user") -> str:
    """Return a name that nobody else has."""
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


async def register(url: str) -> dict[str, Any]:
    """Register a new account; return the server's answer."""
    name = fresh()
    fields = {"username": name, "email": f"{name}@example.org", "password": "correct horse"}
    async with http_client(url) as http:
        answer = await http.post("/api/auth/register", json=fields)
        assert answer.status_code == 201, answer.text
        return dict(answer.json()) | {"password": fields["password"]}


class Client:
    """The official python-socketio client.

    ``diary`` holds each event as (name, payload), in order of arrival. ``lost`` is set when the connection has
    ended. The client connects from ``address``, an address of this machine.
    """

    def __init__(self, url: str, transports: list[str], address: str | None = None) -> None:
        self.url = url
        self.transports = transports
        connector = aiohttp.TCPConnector(local_addr=(address, 0) if address else None)
        self._responses: list[aiohttp.ClientResponse] = []
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._remember)
        self._http = aiohttp.ClientSession(connector=connector, trace_configs=[trace])
        self.sio = socketio.AsyncClient(reconnection=False, http_session=self._http, request_timeout=WAIT)
        self.diary: list[tuple[str, Any]] = []
        self._arrived = asyncio.Event()
        self.lost = asyncio.Event()
        self.sio.on("*", self._write_down)
        self.sio.on("disconnect", lambda _reason: self.lost.set())

    async def __aenter__(self) -> Self:
        try:
            await self.sio.connect(self.url, transports=self.transports, wait_timeout=WAIT)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.sio.disconnect()
            await self.sio.shutdown()
        finally:
            await self._close()

    async def _close(self) -> None:
        """Release what the libraries keep: engineio its tasks, and aiohttp the response of a lost WebSocket.

        A connection that is held by an open response is not closed with its session. It warns when it is
        garbage-collected, which may happen in the middle of another test.
        """
        engine = self.sio.eio
        tasks = [task for task in (engine.read_loop_task, engine.write_loop_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for response in self._responses:
            response.close()
        await self._http.close()

    async def _remember(self, _session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
        self._responses.append(end.response)

    @property
    def socket_id(self) -> str:
        """Return the Socket.IO id."""
        return str(self.sio.get_sid())

    def _write_down(self, name: str, *arguments: Any) -> None:  # not async: the library runs handlers as tasks
        assert len(arguments) == 1, f"{name} came with {len(arguments)} arguments"
        self.diary.append((name, arguments[0]))
        self._arrived.set()

    async def join(self, room: str, *, name: str | None = None, **fields: Any) -> dict[str, Any]:
        """Join as a guest (with ``name`` or a fresh name) or with a token; return the acknowledgement."""
        if "token" not in fields:
            fields["username"] = name or fresh("guest")
        answer = await self.call("join", {"room": room, **fields})
        assert answer["success"], answer
        return answer

    async def send(self, text: str, **fields: Any) -> dict[str, Any]:
        """Send a message; return the acknowledgement."""
        answer = await self.call("send-message", {"message": text, **fields})
        assert answer["success"], answer
        return answer

    async def call(self, name: str, payload: Any = None) -> dict[str, Any]:
        """Emit an event and wait for its acknowledgement.

        The library's own ``call`` waits with ``asyncio.wait_for``. Up to Python 3.11, that drops a cancellation that
        comes together with the answer, and a task that calls in a loop would never end.
        """
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def hear(answer: Any) -> None:
            if not answered.done():
                answered.set_result(answer)

        await self.sio.emit(name, payload, callback=hear)
        async with asyncio.timeout(WAIT):
            answer = await answered
        assert isinstance(answer, dict)
        return answer

    async def emit(self, name: str, payload: Any = None) -> None:
        """Emit an event without requesting an acknowledgement."""
        await self.sio.emit(name, payload)

    def all(self, name: str) -> list[Any]:
        """Return the payloads of all events of that name so far."""
        return [payload for known, payload in self.diary if known == name]

    async def want(self, name: str, count: int = 1) -> Any:
        """Wait until ``count`` events of that name have come; return the payload of the newest."""
        try:
            async with asyncio.timeout(WAIT):
                while len(self.all(name)) < count:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"{count} of {name} did not come; the diary: {self.diary}") from None
        return self.all(name)[count - 1]

    async def settle(self) -> None:
        """Wait until everything that the server had sent to this client has arrived: an answer comes after it."""
        await self.call("typing", False)

    def texts(self) -> list[str]:
        """Return the texts of the messages received live."""
        return [message["message"] for message in self.all("receive-message")]

    def names(self) -> list[str]:
        """Return the names of all events in order."""
        return [name for name, _ in self.diary]


def event(name: str, *arguments: Any, ack: int | None = None) -> str:
    """Return the Engine.IO text of a Socket.IO event."""
    return "42" + ("" if ack is None else str(ack)) + json.dumps([name, *arguments])
