"""Raw requests that an HTTP client library would not send."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from chatsys.web.middleware import Middleware
from tests.web import described


async def ask(
    app: Middleware, method: str, target: bytes, headers: dict[str, str] | None = None, chunks: tuple[bytes, ...] = ()
) -> tuple[int, dict[str, str], Any]:
    """Send ``target`` exactly as it is; return status, headers and decoded body (None if empty)."""
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "method": method,
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("192.0.2.1", 1),
    }
    parts = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    parts.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict[str, Any]] = []
    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not parts:
            await answered.wait()
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answered.set()
    body = b"".join(message.get("body", b"") for message in sent[1:])
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    described.check(method, target.decode("latin-1"), sent[0]["status"], found, body)
    return sent[0]["status"], found, msgspec.json.decode(body) if body else None
