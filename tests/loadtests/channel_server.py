"""A chat with channels and nicknames, without history but with a log over HTTP; docs/LOADTESTING.md has its dialect.

Run as a script with ``none`` or ``faulty``. A faulty server does not push every tenth message of a channel to one of
its members.
"""

from __future__ import annotations

import sys
from typing import Any

import socketio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.loadtests.chat_server import serve

io = socketio.AsyncServer(async_mode="asgi", async_handlers=False)
log: dict[str, list[dict[str, Any]]] = {}
members: dict[str, list[str]] = {}
nicks: dict[str, str] = {}
planted = {"dropped": 0}
EVERY = 10


@io.event
async def enter(sid: str, payload: dict[str, str]) -> dict[str, object]:
    """Join a channel."""
    nicks[sid] = payload["nick"]
    members.setdefault(payload["channel"], []).append(sid)
    log.setdefault(payload["channel"], [])
    return {"ok": True}


@io.event
async def say(sid: str, said: dict[str, str]) -> dict[str, object]:
    """Send a message to everybody in the channel."""
    channel = said["channel"]
    entry = {"id": f"{channel}/{len(log[channel])}", "body": said["body"], "from": nicks[sid]}
    log[channel].append(entry)
    left_out = members[channel][0] if sys.argv[1] == "faulty" and len(log[channel]) % EVERY == 0 else ""
    planted["dropped"] += bool(left_out)
    for member in [member for member in members[channel] if member != left_out]:
        await io.emit("said", entry, to=member)
    return {"ok": True, "id": entry["id"]}


@io.event
async def disconnect(sid: str, _reason: object = None) -> None:
    """Leave all channels."""
    for channel in members.values():
        if sid in channel:
            channel.remove(sid)


async def read(request: Request) -> JSONResponse:
    """Return all messages of a channel."""
    return JSONResponse(log.get(request.path_params["channel"], []))


async def tell(_request: Request) -> JSONResponse:
    """Return the faults planted so far."""
    return JSONResponse(planted)


if __name__ == "__main__":
    serve(socketio.ASGIApp(io, Starlette(routes=[Route("/log/{channel}", read), Route("/planted", tell)])))
