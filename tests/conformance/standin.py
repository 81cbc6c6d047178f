"""A proxy in front of a correct server that breaks one thing: an answer, an event, or an acknowledgement."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from chatsys.protocol.events import read_event

HOP = {"connection", "content-length", "content-encoding", "transfer-encoding", "keep-alive", "host"}


@dataclass
class Reply:
    """An answer on its way to the client, and its request."""

    method: str
    path: str
    sent: bytes
    headers: dict[str, str]
    status: int
    text: str

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.text))

    @body.setter
    def body(self, value: dict[str, Any]) -> None:
        self.text = json.dumps(value)


Event = tuple[str, list[Any]]
Memory = dict[str, Any]
"""The state that a fault keeps for one connection."""


@dataclass(frozen=True)
class Fault:
    """What to break. ``event`` returns what replaces an event, ``ack`` what replaces an acknowledgement's argument."""

    http: Callable[[Reply], None] | None = None
    event: Callable[[Memory, str, list[Any]], list[Event]] | None = None
    ack: Callable[[Any], Any] | None = None
    frame: Callable[[str], str] | None = None


@dataclass
class StandIn:
    """A running proxy: its address, and the requests that it received."""

    upstream: str
    fault: Fault
    url: str = ""
    requests: list[str] = field(default_factory=list)
    stop: Callable[[], Awaitable[None]] = field(init=False)


@asynccontextmanager
async def standing_in(upstream: str, fault: Fault) -> AsyncIterator[StandIn]:
    """Run a proxy with that fault on a free port of 127.0.0.1."""
    stand_in = StandIn(upstream, fault)
    async with aiohttp.ClientSession(auto_decompress=True) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            stand_in.requests.append(f"{request.method} {request.raw_path}")
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await _relay(request, session, stand_in)
            return await _answer(request, session, stand_in)

        app = web.Application(client_max_size=4_000_000)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        stand_in.url = f"http://{host}:{port}"
        stand_in.stop = runner.cleanup
        try:
            yield stand_in
        finally:
            await runner.cleanup()


async def _answer(request: web.Request, session: aiohttp.ClientSession, stand_in: StandIn) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
    sent = await request.read()
    async with session.request(
        request.method,
        URL(stand_in.upstream + request.raw_path, encoded=True),
        data=sent,
        headers=headers,
        allow_redirects=False,
        skip_auto_headers=("Content-Type",),
    ) as found:
        text = (await found.read()).decode()
        kept = {name: value for name, value in found.headers.items() if name.lower() not in HOP}
        reply = Reply(request.method, request.raw_path, sent, kept, found.status, text)
    if stand_in.fault.http is not None:
        stand_in.fault.http(reply)
    return web.Response(status=reply.status, headers=reply.headers, body=reply.text.encode())


async def _relay(request: web.Request, session: aiohttp.ClientSession, stand_in: StandIn) -> web.StreamResponse:
    client = web.WebSocketResponse(max_msg_size=0)
    await client.prepare(request)
    url = URL(stand_in.upstream + request.raw_path, encoded=True)
    async with session.ws_connect(url, max_msg_size=0) as server:
        towards = asyncio.create_task(_pass_on(client, server))
        try:
            memory: Memory = {}
            async for message in server:
                if message.type is aiohttp.WSMsgType.TEXT:
                    for frame in _broken(stand_in.fault, memory, message.data):
                        await client.send_str(frame)
            await client.close()
        except (ConnectionError, RuntimeError):
            pass
        finally:
            towards.cancel()
            await asyncio.gather(towards, return_exceptions=True)
    return client


async def _pass_on(client: web.WebSocketResponse, server: aiohttp.ClientWebSocketResponse) -> None:
    async for message in client:
        if message.type is aiohttp.WSMsgType.TEXT:
            await server.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await server.send_bytes(message.data)
    await server.close()


def _broken(fault: Fault, memory: Memory, frame: str) -> list[str]:
    """Return the frames that the client gets instead of this one."""
    if fault.frame is not None:
        frame = fault.frame(frame)
    if fault.event is not None and frame.startswith("42") and (event := read_event(frame[1:])) is not None:
        return [
            "42" + json.dumps([name, *rest]) for name, rest in fault.event(memory, event.name, list(event.data[1:]))
        ]
    if fault.ack is not None and frame.startswith("43"):
        head, _, text = frame.partition("[")
        answer = fault.ack(json.loads("[" + text)[0])
        return [] if answer is None else [f"{head}{json.dumps([answer])}"]
    return [frame]
