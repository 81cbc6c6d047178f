"""A chat server with only the documented protocol, like the Node.js backend, and with faulty pushes.

Run as a script with a fault, it prints its address and serves until it is ended. The fault is ``none`` or
``faulty``. A faulty server drops 4 % and doubles 2 % of the pushes to members who have their history, and reports
the counts at ``/planted``. Like that backend, it acknowledges and numbers nothing, handles the events of a socket
concurrently, subscribes a socket before it sends the history, leaves a socket subscribed after ``leave-room``,
refuses one join of each new room, admits only registered users, answers 500 to a search and shows an empty profile.
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
    """A server that never acknowledges, even if an acknowledgement is requested."""

    async def _handle_event(self, eio_sid: str, namespace: str, _id: Any, data: Any) -> None:
        await super()._handle_event(eio_sid, namespace, None, data)


class Chat(Accounts):
    """The rooms and the planted faults."""

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
        """Subscribe, then show the newest messages. The first join of a new room is refused, as after a race."""
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
        await asyncio.sleep(0.01)  # a message stored now is pushed before the history, which does not contain it
        if sid in self.sessions:
            await self.io.emit("message-history", history, to=sid)
            self.shown.add((room, sid))

    async def send(self, sid: str, payload: dict[str, Any]) -> None:
        """Store and push a message of a session; ignore messages without one."""
        if sid not in self.sessions:
            return
        room, user = self.sessions[sid]
        message = {"id": str(uuid.uuid4()), "message": payload["message"], "userId": user, "room": room}
        self.stored[room].append(message)
        for member in list(self.subscribed[room]):
            await self.push(room, member, message)

    async def push(self, room: str, member: str, message: dict[str, Any]) -> None:
        """Push to one member: once, not at all, or twice."""
        fate = self.rng.random() if self.faulty and (room, member) in self.shown else 1.0
        if fate < DROPPED:
            self.planted["dropped"] += 1
            return
        await self.io.emit("receive-message", message, to=member)
        if fate < DROPPED + DOUBLED:
            self.planted["doubled"] += 1
            await self.io.emit("receive-message", message, to=member)

    async def read(self, sid: str, payload: dict[str, Any]) -> None:
        """Announce to the room who has read a message."""
        room, user = self.sessions[sid]
        for member in list(self.subscribed[room]):
            update = {"messageId": payload["messageId"], "read": True, "readBy": [user], "readByUser": user}
            await self.io.emit("message-read-update", update, to=member)

    async def leave(self, sid: str, _payload: object = None) -> None:
        """End the session without an answer; the socket stays subscribed."""
        self.sessions.pop(sid, None)

    async def gone(self, sid: str, _reason: object = None) -> None:
        """Handle the end of the connection."""
        self.sessions.pop(sid, None)
        for room, members in self.subscribed.items():
            if sid in members:
                members.remove(sid)
                self.shown.discard((room, sid))

    async def history(self, request: Request) -> JSONResponse:
        """Return a page of the stored messages, counted from the newest."""
        stored = self.stored.get(request.path_params["room"], [])
        end = len(stored) - int(request.query_params.get("offset", 0))
        first = max(0, end - int(request.query_params.get("limit", 100)))
        return JSONResponse({"success": True, "data": stored[first : max(0, end)]})

    async def tell(self, _request: Request) -> JSONResponse:
        """Return the faults planted so far."""
        return JSONResponse(self.planted)

    async def profile(self, _request: Request) -> JSONResponse:
        """Return an empty object for any profile."""
        return JSONResponse({"success": True, "user": {}})

    async def broken(self, _request: Request) -> JSONResponse:
        """Answer a search with an error."""
        return JSONResponse({"success": False, "message": "pool.query is not a function"}, 500)


def application(fault: str) -> socketio.ASGIApp:
    """The REST API and Socket.IO of one chat."""
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
