"""Rooms: who is in them and what was said (contract §6)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from chatsys.chat import conversation
from chatsys.web.requests import chat_of, count, parameter
from chatsys.web.responses import ok
from chatsys.wire import objects

router = APIRouter(prefix="/api/rooms")


@router.get("")
async def rooms(request: Request) -> Response:
    """All rooms."""
    entries = [objects.room_entry(room) for room in await conversation.rooms(chat_of(request))]
    return ok(data=entries, total=len(entries))


@router.get("/{room}/users")
async def members(request: Request) -> Response:
    """Each session in the room, as the running original has it (``data``) and as its documentation does (``users``)."""
    room = parameter(request, "room")
    sessions = await conversation.members(chat_of(request), room)
    return ok(
        room=room,
        count=len(sessions),
        data=[objects.room_member(session) for session in sessions],
        users=[objects.room_member_presence(session) for session in sessions],
    )


@router.get("/{room}/messages")
async def messages(request: Request) -> Response:
    """A page of the room's messages, counted from the newest, itself oldest first."""
    chat, room = chat_of(request), parameter(request, "room")
    limit = min(count(request, "limit", chat.limits.history), chat.limits.page)
    offset = count(request, "offset", 0)
    page = [objects.message(message) for message in await conversation.history(chat, room, limit, offset)]
    return ok(room=room, data=page, total=len(page), limit=limit, offset=offset)


@router.get("/{room}/stats")
async def stats(request: Request) -> Response:
    """Counts of the room."""
    room = parameter(request, "room")
    return ok(room=room, data=objects.room_counts(await conversation.stats(chat_of(request), room)))
