"""A small chat server with the part of the protocol that load tests need, and deliberate faults.

Run as a script with a fault, it prints its address and serves until it is ended. The fault is ``none``, or what
happens to every tenth message of a room: ``dropped`` (one member does not get it), ``doubled`` (one gets it twice),
``swapped`` (all get it after its successor), ``unstored`` (acknowledged and pushed, but not in the history). A
``mute`` server answers no join.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import uuid
from typing import Any

import socketio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

EVERY = 10


class Accounts:
    """Accounts and their tokens, without bcrypt, and reads that always succeed."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self.tokens: dict[str, str] = {}

    def routes(self) -> list[Route]:
        """Return the routes under /api/auth and /api/users."""
        return [
            Route("/api/auth/register", self.register, methods=["POST"]),
            Route("/api/auth/login", self.login, methods=["POST"]),
            Route("/api/auth/verify", self.verify),
        ]

    async def register(self, request: Request) -> JSONResponse:
        """Create an account and its token."""
        fields = await request.json()
        user, token = str(uuid.uuid4()), uuid.uuid4().hex
        self.users[fields["username"]], self.tokens[token] = user, user
        return JSONResponse({"success": True, "user": {"userId": user}, "token": token}, 201)

    async def login(self, request: Request) -> JSONResponse:
        """Return another token if the account is known; the password is not checked."""
        user, token = self.users.get((await request.json())["username"]), uuid.uuid4().hex
        if user is None:
            return JSONResponse({"success": False, "message": "Invalid credentials"}, 401)
        self.tokens[token] = user
        return JSONResponse({"success": True, "user": {"userId": user}, "token": token})

    async def verify(self, request: Request) -> JSONResponse:
        """Return whether a token is known."""
        known = request.headers.get("authorization", "").removeprefix("Bearer ") in self.tokens
        return JSONResponse({"success": known}, 200 if known else 401)

    async def fine(self, _request: Request) -> JSONResponse:
        """Answer any other read."""
        return JSONResponse({"success": True, "data": []})


class Chat(Accounts):
    """The rooms and the fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.io = socketio.AsyncServer(async_mode="asgi", async_handlers=False)
        self.rooms: dict[str, list[dict[str, Any]]] = {}
        self.stored: dict[str, list[dict[str, Any]]] = {}
        self.members: dict[str, list[str]] = {}
        self.where: dict[str, tuple[str, str]] = {}
        self.lock = asyncio.Lock()
        self.held: dict[str, dict[str, Any]] = {}
        self.known: dict[str, dict[str, Any]] = {}
        for event, handler in (
            ("join", self.join),
            ("send-message", self.send),
            ("leave-room", self.leave),
            ("disconnect", self.gone),
        ):
            self.io.on(event, handler)

    async def join(self, sid: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Enter a room; return the history since the last message that the client knows."""
        if self.fault == "mute":
            await asyncio.sleep(3600)
        room, user = payload["room"], self.tokens[payload["token"]]
        async with self.lock:
            messages = self.rooms.setdefault(room, [])
            since = payload.get("since")
            shown = messages[-100:] if since is None else [m for m in messages if m["seq"] > since]
            self.where[sid] = (room, user)
            await self.io.emit("message-history", shown, to=sid)
            self.members.setdefault(room, []).append(sid)
        return {"success": True, "room": room, "userId": user, "sessionId": sid, "lastSeq": len(messages),
                "replayed": len(shown), "complete": True}  # fmt: skip

    async def send(self, sid: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Number a message, store it, push it, acknowledge it."""
        async with self.lock:
            return await self.take(
                *self.where[sid], payload["message"], payload.get("clientMessageId", str(uuid.uuid4()))
            )

    async def take(self, room: str, user: str, text: str, token: str) -> dict[str, Any]:
        """Store one message at a time; acknowledge a repeated one without storing it."""
        messages, known = self.rooms[room], token in self.known
        if not known:
            message = {"id": str(uuid.uuid4()), "seq": len(messages) + 1, "message": text, "userId": user, "room": room}
            self.known[token] = message
            messages.append(message)
            faulty = message["seq"] % EVERY == 0
            if not (faulty and self.fault == "unstored"):
                self.stored.setdefault(room, []).append(message)
            await self.push(room, message, faulty)
        answer = self.known[token]
        return {"success": True, "id": answer["id"], "seq": answer["seq"], "timestamp": "", "duplicate": known}

    async def push(self, room: str, message: dict[str, Any], faulty: bool) -> None:
        """Push to all members, except for the fault."""
        if faulty and self.fault == "swapped":
            self.held[room] = message
            self.late = asyncio.create_task(self.push_if_last(room, message))
            return
        members = list(self.members[room])
        for number, member in enumerate(members):
            if faulty and self.fault == "dropped" and number == 0:
                continue
            await self.io.emit("receive-message", message, to=member)
            if faulty and self.fault == "doubled" and number == 0:
                await self.io.emit("receive-message", message, to=member)
        held = self.held.pop(room, None)
        if held is not None:
            for member in members:
                await self.io.emit("receive-message", held, to=member)

    async def push_if_last(self, room: str, message: dict[str, Any]) -> None:
        """Push the last message of a run, which has no successor to push it with."""
        await asyncio.sleep(2)
        async with self.lock:
            if self.held.get(room) is message:
                del self.held[room]
                await self.push(room, message, False)

    async def leave(self, sid: str, _payload: object = None) -> dict[str, Any]:
        """Leave the room; no push comes after the acknowledgement."""
        async with self.lock:
            self.gone_from(sid)
        return {"success": True}

    async def gone(self, sid: str, _reason: object = None) -> None:
        """End the connection, after a pending join has finished."""
        async with self.lock:
            self.gone_from(sid)

    def gone_from(self, sid: str) -> None:
        """Remove the socket from its room."""
        room, _ = self.where.pop(sid, ("", ""))
        if sid in self.members.get(room, ()):
            self.members[room].remove(sid)

    async def history(self, request: Request) -> JSONResponse:
        """Return a page of the stored messages, counted from the newest."""
        stored = self.stored.get(request.path_params["room"], [])
        end = len(stored) - int(request.query_params.get("offset", 0))
        first = max(0, end - int(request.query_params.get("limit", 100)))
        return JSONResponse({"success": True, "data": stored[first : max(0, end)]})


def application(fault: str) -> socketio.ASGIApp:
    """The REST API and Socket.IO of one faulty chat."""
    chat = Chat(fault)
    rest = Starlette(
        routes=[
            *chat.routes(),
            Route("/api/rooms/{room}/messages", chat.history),
            Route("/{rest:path}", chat.fine),
        ]
    )
    return socketio.ASGIApp(chat.io, rest)


def serve(app: Any) -> None:
    """Serve on a free port of this host and print the address."""
    # Name the protocol; otherwise asyncio does not disable Nagle's algorithm.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    serve(application(sys.argv[1]))
