"""A stock python-socketio server as others run it: echoes, broadcasts, falls silent, kicks; pings often."""

from __future__ import annotations

import asyncio
import time

import socketio

from tests.loadtests.chat_server import serve

io = socketio.AsyncServer(async_mode="asgi", ping_interval=0.3, ping_timeout=8, namespaces=["/", "/other"])
ends: list[tuple[str, str]] = []


@io.event
async def connect(_sid: str, _environ: object, auth: object) -> bool:
    """Refuse whoever says it should be refused."""
    if auth == {"refuse": True}:
        raise socketio.exceptions.ConnectionRefusedError("not today")
    return True


@io.event
async def disconnect(sid: str, reason: str) -> None:
    """Remember how a connection ended."""
    ends.append((sid, reason))


@io.event
async def ended(_sid: str) -> list[tuple[str, str]]:
    """Which connections ended so far, and how."""
    return ends


@io.event
async def echo(_sid: str, value: object) -> object:
    """The same again."""
    return value


@io.event
async def shout(_sid: str, value: object) -> None:
    """To everybody."""
    await io.emit("heard", value)


@io.event
async def many(_sid: str, count: int) -> None:
    """So many numbers, in order."""
    for number in range(count):
        await io.emit("number", number, to=_sid)


@io.event
async def ask(sid: str) -> object:
    """Ask the client, which must acknowledge."""
    await io.call("question", {"why": True}, to=sid, timeout=30)
    return "asked and answered"


@io.event
async def buy(sid: str, _order: object) -> str:
    """Tell the buyer a price, and take the order."""
    await io.emit("price", {"sentAt": time.time() * 1000}, to=sid)
    return "sold"


@io.event
async def silent(_sid: str, _value: object) -> None:
    """Never answer."""
    await asyncio.sleep(3600)


@io.event
async def kick(sid: str) -> None:
    """Throw the caller out."""
    await io.disconnect(sid)


@io.on("echo", namespace="/other")
async def other_echo(_sid: str, value: object) -> object:
    """The same again, in another namespace."""
    return ["other", value]


if __name__ == "__main__":
    serve(socketio.ASGIApp(io))
