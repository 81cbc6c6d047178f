"""A stock python-socketio server as others run it: it echoes, broadcasts, falls silent, kicks, and pings often."""

from __future__ import annotations

import asyncio
import time

import socketio

from tests.loadtests.chat_server import serve

io = socketio.AsyncServer(
    async_mode="asgi",
    ping_interval=0.3,
    ping_timeout=8,
    namespaces=["/", "/other", "/refuses"],
    cors_allowed_origins="*",
)
ends: list[tuple[str, str]] = []
handshakes: dict[str, dict[str, str]] = {}


@io.event
async def connect(sid: str, environ: dict[str, str], auth: object) -> bool:
    """Refuse a client that asks to be refused."""
    handshakes[sid] = {
        "query": environ["QUERY_STRING"],
        "origin": environ.get("HTTP_ORIGIN", ""),
        "cookie": environ.get("HTTP_COOKIE", ""),
        "authorization": environ.get("HTTP_AUTHORIZATION", ""),
        "tenant": environ.get("HTTP_X_TENANT", ""),
        "host": environ["HTTP_HOST"],
    }
    if auth == {"refuse": True}:
        raise socketio.exceptions.ConnectionRefusedError("not today")
    return True


@io.event
async def disconnect(sid: str, reason: str) -> None:
    """Record how a connection ended."""
    ends.append((sid, reason))


@io.event
async def ended(_sid: str) -> list[tuple[str, str]]:
    """Return the connections that have ended, and how."""
    return ends


@io.event
async def echo(_sid: str, value: object) -> object:
    """Echo a value."""
    return value


@io.event
async def shout(_sid: str, value: object) -> None:
    """Broadcast to everybody."""
    await io.emit("shouted", value)


@io.event
async def many(_sid: str, count: int) -> None:
    """Send this many numbers, in order."""
    for number in range(count):
        await io.emit("number", number, to=_sid)


@io.event
async def ask(sid: str) -> object:
    """Send the client an event that it must acknowledge."""
    await io.call("question", {"why": True}, to=sid, timeout=30)
    return "asked and answered"


@io.event
async def handshake(sid: str) -> dict[str, str]:
    """Return the content of the caller's first request."""
    return handshakes[sid]


@io.event
async def transport(sid: str) -> str:
    """Return the transport that carries the caller's packets now."""
    return io.transport(sid)


@io.event
async def bytes_of(_sid: str, value: object) -> list[object]:
    """Return whether bytes came, and how many."""
    return ["bytes", len(value)] if isinstance(value, bytes) else [type(value).__name__, None]


@io.event
async def push_bytes(sid: str) -> None:
    """Send bytes twice in one event, and another event behind it."""
    await io.emit("blob", {"first": bytes(range(256)), "items": [1, b"second"], "text": "x"}, to=sid)
    await io.emit("number", 7, to=sid)


@io.event
async def two(_sid: str) -> tuple[None, dict[str, bool]]:
    """Acknowledge as Node.js servers do: no error, and a result."""
    return None, {"ok": True}


@io.event
async def nothing(_sid: str) -> None:
    """Acknowledge without arguments."""


@io.event
async def ask_for(sid: str, question: str) -> object:
    """Return the client's acknowledgement; several arguments as a list."""
    answer = await io.call(question, {"a": 2, "b": 3}, to=sid, timeout=30)
    return list(answer) if isinstance(answer, tuple) else answer


@io.event
async def drop(sid: str) -> None:
    """End the connection below Socket.IO, as a restart does."""
    await io.eio.disconnect(io.manager.eio_sid_from_sid(sid, "/"))


@io.event
async def buy(sid: str, _order: object) -> str:
    """Send the buyer a price, and take the order."""
    await io.emit("price", {"sentAt": time.time() * 1000}, to=sid)
    return "sold"


@io.event
async def silent(_sid: str, _value: object) -> None:
    """Never answer."""
    await asyncio.sleep(3600)


@io.event
async def kick(sid: str) -> None:
    """Disconnect the caller."""
    await io.disconnect(sid)


@io.on("connect", namespace="/refuses")
async def refuse(_sid: str, _environ: object) -> None:
    """Refuse every connection."""
    raise socketio.exceptions.ConnectionRefusedError("members only")


@io.on("kick", namespace="/other")
async def other_kick(sid: str) -> None:
    """Disconnect the caller from this namespace."""
    await io.disconnect(sid, namespace="/other")


@io.on("echo", namespace="/other")
async def other_echo(_sid: str, value: object) -> object:
    """Echo a value in another namespace."""
    return ["other", value]


if __name__ == "__main__":
    serve(socketio.ASGIApp(io))
