"""A proxy between clients and the original server: it forwards everything, and repeats it on the shadow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any

import aiohttp
from socketio.exceptions import SocketIOError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from yarl import URL

from chatsys.engine.connection import Connection
from chatsys.engine.engine import Engine
from chatsys.engine.polling import METHODS, Endpoint
from chatsys.engine.shared import ConnectionLimits
from chatsys.engine.sockets import SocketLayer
from chatsys.lab.conformance.shapes import CheckFailed
from chatsys.lab.conformance.sockets import Client
from chatsys.lab.shadow.findings import Findings
from chatsys.lab.shadow.traffic import ANSWER, ORIGINAL, SHADOW, MirroredTraffic, Stream
from chatsys.lab.shadow.twins import Difference
from chatsys.protocol.events import DEFAULT, ClientEvent, sent
from chatsys.protocol.frames import RESTART
from chatsys.server.serving import Server, uvicorn_config

PATH = "/socket.io"
OF_THE_PROCESS = frozenset({"/", "/health", "/metrics", "/api/health", "/api/ready"})
"""Paths that describe the server process itself. The proxy asks only the original."""
_OF_ONE_HOP = frozenset({"connection", "content-length", "date", "host", "keep-alive", "server", "te", "trailer",
                         "transfer-encoding", "upgrade", "accept-encoding"})  # fmt: skip
_NAMES = re.compile(r"(?<=/users/)(?!search/)[^/]+|(?<=/rooms/)[^/]+|(?<=/search/)[^/]+")
_TOTAL = aiohttp.ClientTimeout(total=30)
_ANSWERED_WITHIN = 1.0
_LAST_WITHIN = 30.0


class Upstream(Client):
    """A client of one of the two servers. It calls ``on_event`` with each event's name and arguments."""

    def __init__(self, url: str, name: str, on_event: Callable[[str, tuple[Any, ...]], None]) -> None:
        super().__init__(url, "websocket", name, [])
        self._on_event = on_event

    def _record(self, name: str, *arguments: Any) -> None:
        self._on_event(name, arguments)

    async def send(self, event: str, arguments: list[Any], on_answer: Callable[..., None] | None) -> None:
        """Send an event. With ``on_answer``, request an acknowledgement and call ``on_answer`` with its arguments."""
        await self.sio.emit(event, tuple(arguments), callback=on_answer)


class Pair:
    """One client's connections to both servers."""

    def __init__(self, connection: Connection, auth: Any, servers: tuple[str, str], traffic: MirroredTraffic) -> None:
        self._connection = connection
        self._traffic = traffic
        self._stream = Stream(traffic)
        self._original = Upstream(servers[ORIGINAL], "the client", self._from_original)
        self._shadow = Upstream(servers[SHADOW], "the shadow", self._from_shadow)
        self._connected = asyncio.ensure_future(self._connect(auth))
        traffic.follow("connect", lambda: self._shadow.connect(auth))

    async def _connect(self, auth: Any) -> bool:
        try:
            await self._original.connect(auth)
        except CheckFailed:
            self._drop_client()
            return False
        self._original.sio.on("disconnect", self._drop_client)
        return True

    def _drop_client(self, *_: object) -> None:
        """Close the client's connection, because the original refused it or disconnected. The client may reconnect."""
        self._connection.end("the original disconnected", RESTART)

    async def forward(self, events: list[ClientEvent]) -> None:
        """Forward the client's events to both servers."""
        if not await self._connected:
            return
        try:
            for event in events:
                await self._forward(event)
        except SocketIOError:
            self._drop_client()

    async def _forward(self, event: ClientEvent) -> None:
        arguments, what = list(event.data[1:]), ANSWER + event.name

        def answered(*answer: Any) -> None:
            self._send(list(answer), event.ack_id)
            self._stream.received(ORIGINAL, what, answer)

        acknowledged = asyncio.Event()

        def shadow_answered(*answer: Any) -> None:
            self._stream.received(SHADOW, what, answer)
            acknowledged.set()

        wants_answer = event.ack_id is not None
        await self._original.send(event.name, arguments, answered if wants_answer else None)

        async def follow() -> None:
            translated = await self._traffic.translated(arguments)
            await self._shadow.send(event.name, translated, shadow_answered if wants_answer else None)
            if wants_answer:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ANSWERED_WITHIN):
                        await acknowledged.wait()
            await self._stream.settle()  # before the next call, which may be another client's

        self._traffic.follow(f"event {event.name}", follow)

    def _from_original(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._send([name, *arguments])
        self._stream.received(ORIGINAL, f"event {name}", arguments)

    def _from_shadow(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._stream.received(SHADOW, f"event {name}", arguments)

    def _send(self, data: list[Any], ack_id: int | None = None) -> None:
        for out in sent(data, DEFAULT, ack_id):
            self._connection.send(out)

    async def end(self) -> None:
        """The client has disconnected. Disconnect from the original now, and from the shadow after the queued calls."""
        self._connected.cancel()
        self._stream.leave()
        await self._original.close()
        self._traffic.follow("disconnect", self._leave_shadow)

    async def _leave_shadow(self) -> None:
        await self._stream.settle()
        await self._shadow.close()
        self._stream.close()


class Front:
    """What the engine calls when clients connect, send events and disconnect."""

    namespaces: Collection[str] = (DEFAULT,)

    def __init__(self, servers: tuple[str, str], traffic: MirroredTraffic) -> None:
        self._servers = servers
        self._traffic = traffic
        self._pairs: dict[str, Pair] = {}
        self._clients = 0
        self.empty = asyncio.Event()
        """Set while no client is connected and all who left have been disconnected from the original."""
        self.empty.set()

    def knows(self, event: str) -> bool:
        """True for every event: all are forwarded."""
        return True

    def connected(self, connection: Connection, namespace: str, auth: Any) -> None:
        """Connect a new client to both servers."""
        self._clients += 1
        self.empty.clear()
        self._pairs[connection.sid] = Pair(connection, auth, self._servers, self._traffic)

    async def events(self, connection: Connection, batch: list[ClientEvent]) -> None:
        """Forward a client's events."""
        await self._pairs[connection.sid].forward(batch)

    async def left(self, connection: Connection, namespace: str) -> None:
        """A client has left: disconnect it from both servers."""
        try:
            await self._pairs.pop(connection.sid).end()
        finally:
            self._clients -= 1
            if not self._clients:
                self.empty.set()

    def drained(self, connection: Connection) -> None:
        """Do nothing: no event was left out."""


class Forwarder:
    """Forwards HTTP requests to the original and repeats them on the shadow."""

    def __init__(self, servers: tuple[str, str], traffic: MirroredTraffic, session: aiohttp.ClientSession) -> None:
        self._servers = servers
        self._traffic = traffic
        self._session = session

    async def answer(self, request: Request) -> Response:
        """The original's answer, or 502 if it does not answer."""
        body = await request.body()
        headers = {name: text for name, text in request.headers.items() if name not in _OF_ONE_HOP}
        route = request.scope["raw_path"].decode("latin-1")
        path = f"{route}?{request.url.query}" if request.url.query else route
        try:
            status, content, own, seconds = await self._ask(ORIGINAL, request.method, path, headers, body)
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"The original did not answer: {str(error) or type(error).__name__}"
            return JSONResponse({"success": False, "message": message}, 502)
        if route not in OF_THE_PROCESS and request.method != "OPTIONS":
            what = f"{request.method} {_NAMES.sub(':name', route)}"

            async def follow() -> None:
                sent_headers = self._traffic.twins.translated(headers)
                sent_body = await self._traffic.translated(_json(body)) if body else None
                data = json.dumps(sent_body).encode() if isinstance(sent_body, dict | list) else body
                sent_path = await self._traffic.translated(path)
                answer = await self._ask(SHADOW, request.method, sent_path, sent_headers, data)
                self._compare(what, (status, content, seconds), answer)

            self._traffic.follow(what, follow)
        return Response(content, status, own)

    async def _ask(
        self, side: int, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes, dict[str, str], float]:
        begun = time.perf_counter()
        url = URL(self._servers[side] + path, encoded=True)  # as the client wrote it
        async with self._session.request(
            method, url, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            content = await answer.read()
            own = {name: text for name, text in answer.headers.items() if name.lower() not in _OF_ONE_HOP}
            return answer.status, content, own, time.perf_counter() - begun

    def _compare(
        self, what: str, original: tuple[int, bytes, float], shadow: tuple[int, bytes, dict[str, str], float]
    ) -> None:
        ours, theirs = _json(original[1]), _json(shadow[1])
        found = [*self._traffic.twins.differences(ours, theirs)]
        if original[0] != shadow[0]:
            found.insert(0, Difference("status", original[0], shadow[0]))
        self._traffic.twins.learn(ours, theirs)
        self._traffic.findings.judged(what, found)
        self._traffic.findings.took(what, original[2], shadow[3])


def _json(body: bytes) -> Any:
    """A body parsed as JSON, or as text if it is not JSON."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


@contextlib.asynccontextmanager
async def _passing(
    servers: tuple[str, str], traffic: MirroredTraffic, front: Front
) -> AsyncIterator[tuple[Any, Endpoint, Engine]]:
    engine = Engine(SocketLayer(front), ConnectionLimits(), asyncio.get_running_loop())
    endpoint = Endpoint(engine, "*")
    async with aiohttp.ClientSession(timeout=_TOTAL, headers={"Accept-Encoding": "identity"}) as session:
        methods = METHODS.split(",")
        rest = Starlette(routes=[Route("/{path:path}", Forwarder(servers, traffic, session).answer, methods=methods)])

        async def application(scope: Any, receive: Any, send: Any) -> None:
            polling = scope["type"] == "http" and scope["path"].startswith(PATH)
            await (endpoint if polling else rest)(scope, receive, send)

        engine.wheel.start()
        try:
            yield application, endpoint, engine
        finally:
            engine.wheel.stop()


async def serve(servers: tuple[str, str], listener: socket.socket, started: Callable[[], None]) -> Findings:
    """Forward the clients of ``listener`` to ``servers[0]`` until Ctrl-C or SIGTERM, then return the findings."""
    traffic = MirroredTraffic()
    front = Front(servers, traffic)
    async with _passing(servers, traffic, front) as (application, endpoint, engine):
        server = Server(uvicorn_config(application, endpoint, PATH, forwarded_allow_ips=""), engine.close_all)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            server.should_exit = True

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        following = asyncio.ensure_future(traffic.run())
        try:
            listener.listen()
            await server.serve_on(listener, started)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WITHIN):
                    await front.empty.wait()
            await traffic.caught_up(_LAST_WITHIN)
        finally:
            following.cancel()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
    return traffic.findings
