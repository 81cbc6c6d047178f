"""The baseline of the endpoints: python-socketio and uvicorn with default options and the minimum of a chat.

Run as ``python -m chatsys.lab.subjects.reference PORT``. Its event names, and the shape and size of its messages, are
those of chatsys. It stores nothing and sends no list of users.
"""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from typing import Any

import socketio
import uvicorn

_AVATAR = "https://ui-avatars.com/api/?name=member%200&background=667eea&color=fff"


def message_of(number: int, user_id: str, text: str, room: str) -> dict[str, Any]:
    """A message of a room, with the same shape and size as in chatsys."""
    return {
        "id": f"01900000-0000-7000-8000-{number:012d}",
        "seq": number,
        "username": "member 0",
        "displayName": "member 0",
        "avatar": _AVATAR,
        "userId": user_id,
        "message": text,
        "room": room,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "delivered": False,
        "deliveredTo": [],
        "read": False,
        "readBy": [],
        "editedAt": None,
    }


def reference_app() -> Any:
    """An ASGI app: an AsyncServer with three handlers and, except for CORS, default options."""
    server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
    rooms: dict[str, str] = {}
    numbers: defaultdict[str, itertools.count[int]] = defaultdict(lambda: itertools.count(1))

    async def join(sid: str, payload: dict[str, Any]) -> None:
        rooms[sid] = payload["room"]
        await server.enter_room(sid, payload["room"])
        await server.emit("message-history", [], to=sid)

    async def send_message(sid: str, payload: dict[str, Any]) -> None:
        room = rooms[sid]
        number = next(numbers[room])
        message = message_of(number, f"guest-{sid}", payload["message"], room)
        await server.emit("receive-message", message, room=room)

    async def disconnect(sid: str, reason: str) -> None:
        rooms.pop(sid, None)

    server.on("join", join)
    server.on("send-message", send_message)
    server.on("disconnect", disconnect)

    return socketio.ASGIApp(server)


def main() -> None:
    """Serve on 127.0.0.1 at the port named on the command line."""
    uvicorn.run(reference_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
