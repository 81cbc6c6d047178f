"""A chat server that speaks the documented protocol alone, as the Node.js backend does, and what it does to pushes.

Run as a script with a fault, it prints its address and serves until it is ended. The fault is ``none``, or ``faulty``:
it drops 4 % and doubles 2 % of the pushes to members who have their history, and tells at ``/planted`` how many. Like
that backend it acknowledges nothing and numbers nothing, handles the events of a socket side by side, subscribes a
socket before it sends the history, leaves a socket subscribed after ``leave-room``, refuses one join of each new room,
admits registered users alone, answers 500 to a search and shows an empty profile.
"""

from __future__ import annotations

import asyncio
import random
import sys
import uuid
from typing import Any

import socketio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.loadtests.chat_server import Accounts, serve

DROPPED, DOUBLED = 0.04, 0.02
SHOWN = 100


class Mute(socketio.AsyncServer):
    """A server that acknowledges nothing, whatever it is asked."""

    async def _handle_event(self, eio_sid: str, namespace: str, _id: Any, data: Any) -> None:
        await super()._handle_event(eio_sid, namespace, None, data)


class Chat(Accounts):
    """Rooms, and what was planted."""

    def __init__(self, faulty: bool) -> None:
        super().__init__()
        self.faulty = faulty
        self.rng = random.Random(1)
        self.planted = {"dropped": 0, "doubled": 0, "refused": 0}
        self.io = Mute(async_mode="asgi")
        self.stored: dict[str, list[dict[str, Any]]] = {}
        self.subscribed: dict[str, list[str]] = {}
        self.shown: set[tuple[str, str]] = set()
        self.sessions: dict[str, tuple[str, str]] = {}
        for event, handler in (
            ("join", self.join),
            ("send-message", self.send),
            ("leave-room", self.leave),
            ("message-read", self.read),
            ("disconnect", self.gone),
        ):
            self.io.on(event, handler)

    async def join(self, sid: str, payload: dict[str, Any]) -> None:
        """Subscribe, then show the newest messages; the first to come to a new room is refused, as after a race."""
        room, user = payload["room"], self.tokens.get(payload.get("token"))
        if user is None or room not in self.stored:
            self.planted["refused"] += room not in self.stored
            self.stored.setdefault(room, [])
            await self.io.emit("error", {"message": "Failed to join room"}, to=sid)
            return
        self.sessions[sid] = (room, user)
        self.subscribed.setdefault(room, []).append(sid)
        await self.io.emit("room-users", [], to=sid)
        await asyncio.sleep(0.01)
        history = self.stored[room][-SHOWN:]
        await asyncio.sleep(0.01)  # what is stored now is pushed before the history, which does not have it
        if sid in self.sessions:
            await self.io.emit("message-history", history, to=sid)
            self.shown.add((room, sid))

    async def send(self, sid: str, payload: dict[str, Any]) -> None:
        """Store a message of a session and push it; of others nothing is heard."""
        if sid not in self.sessions:
            return
        room, user = self.sessions[sid]
        message = {"id": str(uuid.uuid4()), "message": payload["message"], "userId": user, "room": room}
        self.stored[room].append(message)
        for member in list(self.subscribed[room]):
            await self.push(room, member, message)

    async def push(self, room: str, member: str, message: dict[str, Any]) -> None:
        """To one member: once, or not at all, or twice."""
        fate = self.rng.random() if self.faulty and (room, member) in self.shown else 1.0
        if fate < DROPPED:
            self.planted["dropped"] += 1
            return
        await self.io.emit("receive-message", message, to=member)
        if fate < DROPPED + DOUBLED:
            self.planted["doubled"] += 1
            await self.io.emit("receive-message", message, to=member)

    async def read(self, sid: str, payload: dict[str, Any]) -> None:
        """Tell the room who has read a message."""
        room, user = self.sessions[sid]
        for member in list(self.subscribed[room]):
            update = {"messageId": payload["messageId"], "read": True, "readBy": [user], "readByUser": user}
            await self.io.emit("message-read-update", update, to=member)

    async def leave(self, sid: str, _payload: object = None) -> None:
        """End the session without an answer; the socket stays subscribed."""
        self.sessions.pop(sid, None)

    async def gone(self, sid: str, _reason: object = None) -> None:
        """The connection ended."""
        self.sessions.pop(sid, None)
        for room, members in self.subscribed.items():
            if sid in members:
                members.remove(sid)
                self.shown.discard((room, sid))

    async def history(self, request: Request) -> JSONResponse:
        """A page of what is stored, counted from the newest."""
        stored = self.stored.get(request.path_params["room"], [])
        end = len(stored) - int(request.query_params.get("offset", 0))
        first = max(0, end - int(request.query_params.get("limit", 100)))
        return JSONResponse({"success": True, "data": stored[first : max(0, end)]})

    async def tell(self, _request: Request) -> JSONResponse:
        """What was planted so far."""
        return JSONResponse(self.planted)

    async def profile(self, _request: Request) -> JSONResponse:
        """An empty object, whoever is asked for."""
        return JSONResponse({"success": True, "user": {}})

    async def broken(self, _request: Request) -> JSONResponse:
        """A search."""
        return JSONResponse({"success": False, "message": "pool.query is not a function"}, 500)


def application(fault: str) -> socketio.ASGIApp:
    """REST and Socket.IO of one chat."""
    chat = Chat(fault == "faulty")
    routes = [
        *chat.routes(),
        Route("/api/rooms/{room}/messages", chat.history),
        Route("/api/users/search/{query}", chat.broken),
        Route("/api/users/{user}", chat.profile),
        Route("/planted", chat.tell),
        Route("/{rest:path}", chat.fine),
    ]
    return socketio.ASGIApp(chat.io, Starlette(routes=routes))


if __name__ == "__main__":
    serve(application(sys.argv[1]))
