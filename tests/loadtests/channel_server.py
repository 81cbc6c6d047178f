"""A chat with channels and nicknames, for which docs/LOADTESTING.md has a dialect: no history, a log by HTTP.

Run as a script with ``none`` or ``faulty``; a faulty one does not push each tenth message of a channel to one member.
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
async def enter(sid: str, asked: dict[str, str]) -> dict[str, object]:
    """Be in a channel."""
    nicks[sid] = asked["nick"]
    members.setdefault(asked["channel"], []).append(sid)
    log.setdefault(asked["channel"], [])
    return {"ok": True}


@io.event
async def say(sid: str, said: dict[str, str]) -> dict[str, object]:
    """To all in the channel."""
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
    """Be in no channel."""
    for channel in members.values():
        if sid in channel:
            channel.remove(sid)


async def read(request: Request) -> JSONResponse:
    """All that was said in a channel."""
    return JSONResponse(log.get(request.path_params["channel"], []))


async def tell(_request: Request) -> JSONResponse:
    """What was planted so far."""
    return JSONResponse(planted)


if __name__ == "__main__":
    serve(socketio.ASGIApp(io, Starlette(routes=[Route("/log/{channel}", read), Route("/planted", tell)])))
