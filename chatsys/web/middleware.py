"""The rules for every HTTP request, applied before routing (contract §1.7 to §1.11).

Paths are matched before percent-decoding, so that an encoded slash stays inside its parameter. One trailing slash makes
no difference. HEAD is answered as GET without the body. Every response has the CORS headers. Every error becomes a JSON
answer without internals.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatsys import logs, metrics
from chatsys.errors import RequestTooLarge
from chatsys.web.requests import BODY_LIMIT
from chatsys.web.responses import refusal, unavailable

log = logging.getLogger(__name__)
access = logging.getLogger("chatsys.access")

METHODS = b"GET,HEAD,PUT,PATCH,POST,DELETE"
_KNOWN = frozenset(METHODS.decode().split(",")) | {"OPTIONS"}

Headers = Iterable[tuple[bytes, bytes]]


class Middleware:
    """An ASGI application around the routes."""

    def __init__(self, app: ASGIApp, *, cors_origin: str, access_log: bool) -> None:
        self._app = app
        self._cors = [(b"access-control-allow-origin", cors_origin.encode("latin-1"))]
        if cors_origin != "*":
            self._cors.append((b"vary", b"Origin"))
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other kinds of scope go through untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(send, self._cors, without_body=scope["method"] == "HEAD")
        with logs.about(request=logs.short_id()):
            started = time.perf_counter()
            try:
                await self._answer(_routed(scope), receive, exchange)
            except asyncio.CancelledError:  # only a server that stops and waits no longer cancels a request
                if not exchange.status:
                    await unavailable()(scope, receive, exchange.send)
            except Exception:
                log.exception("A fault while answering %s %r", scope["method"], _target(scope))
            seconds = time.perf_counter() - started
            method = scope["method"] if scope["method"] in _KNOWN else "other"
            metrics.http_seconds.observe((method, f"{exchange.status // 100}xx"), seconds)
            if self._access_log:
                milliseconds = seconds * 1000
                access.info("%s %r %d %.1f ms", scope["method"], _target(scope), exchange.status, milliseconds)

    async def _answer(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        if scope["method"] == "OPTIONS":
            await _preflight(scope["headers"], exchange.send)
        elif _announced_length(scope["headers"]) > BODY_LIMIT:
            await refusal(RequestTooLarge())(scope, receive, exchange.send)
        else:
            await self._app(scope, receive, exchange.send)


class _Exchange:
    """One response on its way out: adds headers, drops the body of HEAD, remembers the status (0 until it is sent)."""

    def __init__(self, send: Send, headers: Headers, *, without_body: bool) -> None:
        self._send = send
        self._headers = headers
        self._without_body = without_body
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass one ASGI message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
        elif self._without_body and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def _routed(scope: Scope) -> Scope:
    """The scope that the routes see: the path as it came over the wire, HEAD as GET."""
    path = scope["raw_path"].decode("latin-1")
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return {**scope, "path": path, "method": method, "chatsys.target": _target(scope)}


def _target(scope: Scope) -> str:
    """Path and query as requested."""
    query = scope["query_string"].decode("latin-1")
    path: str = scope["raw_path"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _announced_length(headers: Headers) -> int:
    length = next((value for name, value in headers if name == b"content-length"), b"0")
    return int(length) if length.isdigit() else 0


async def _preflight(headers: Headers, send: Send) -> None:
    wanted = b",".join(value for name, value in headers if name == b"access-control-request-headers")
    answer = [(b"access-control-allow-methods", METHODS), (b"content-length", b"0")]
    if wanted:
        answer += [(b"access-control-allow-headers", wanted), (b"vary", b"Access-Control-Request-Headers")]
    await send({"type": "http.response.start", "status": 204, "headers": answer})
    await send({"type": "http.response.body", "body": b""})
