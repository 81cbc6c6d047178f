"""Rooms, their members and their messages (contract §6)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from chatsys.chat import conversation
from chatsys.chat.history import excerpt
from chatsys.chat.shared import SharedReads
from chatsys.model.rules import SEQ_MAX
from chatsys.web.requests import address_of, chat_of, count, parameter
from chatsys.web.responses import ok
from chatsys.wire import answers, objects

router = APIRouter(prefix="/api/rooms")


@router.get("")
async def rooms(request: Request) -> Response:
    """A page of the rooms by name."""
    chat = chat_of(request)
    limit, after = count(request, "limit", chat.limits.rooms), request.query_params.get("after", "")

    async def read() -> Response:
        async with chat.reads.slot(address_of(request)):
            found, more = await conversation.rooms(chat, limit, after)
        entries = [objects.room_entry(room) for room in found]
        return ok(answers.RoomList(data=entries, total=len(entries), next=UNSET if more is None else more))

    return await _shared(request).read(("rooms", limit, after), read)


@router.get("/{room}/users")
async def members(request: Request) -> Response:
    """The sessions in the room: ``data`` as the original server sends them, ``users`` as its documentation says."""
    room = parameter(request, "room")
    sessions, number = await conversation.newest_members(chat_of(request), room)
    return ok(
        answers.RoomMembers(
            room=room,
            count=number,
            data=[objects.room_member(session) for session in sessions],
            users=[objects.room_member_presence(session) for session in sessions],
        )
    )


@router.get("/{room}/messages")
async def messages(request: Request) -> Response:
    """A page of the room's messages, oldest first, counted back from the newest or from ``before``."""
    chat, room = chat_of(request), parameter(request, "room")
    limit = min(count(request, "limit", chat.limits.history), chat.limits.page)
    offset, before = count(request, "offset", 0), count(request, "before", SEQ_MAX)

    async def read() -> Response:
        async with chat.reads.slot(address_of(request)):
            page = await excerpt(
                chat,
                room,
                objects.encoded_messages,
                limit=limit,
                offset=offset,
                before=before,
                max_bytes=chat.limits.page_bytes,
            )
        encoded: Any = objects.Encoded(page.data)
        return ok(
            answers.MessagePage(
                room=room,
                data=encoded,
                total=page.count,
                limit=limit,
                offset=offset,
                truncated=True if page.truncated else UNSET,
                next_offset=offset + page.count if page.truncated else UNSET,
            )
        )

    return await _shared(request).read((room, limit, offset, before), read)


@router.get("/{room}/stats")
async def stats(request: Request) -> Response:
    """Counts of the room."""
    room = parameter(request, "room")
    counts = objects.room_counts(await conversation.stats(chat_of(request), room))
    return ok(answers.RoomStatistics(room=room, data=counts))


def _shared(request: Request) -> SharedReads[object, Response]:
    """The reads that are shared by concurrent requests for the same page."""
    reads: SharedReads[object, Response] = request.app.state.reads
    return reads
