"""Parts of a room's history, bounded in messages and in bytes, made in steps (contract §6.3, §9.1, §14.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatsys.chat.bundle import Chat
from chatsys.model.rules import SEQ_MAX
from chatsys.model.values import Message, Value

STEP = 100
"""Messages that are read and encoded before others have their turn."""

STEP_BYTES = 1_048_576
"""Bytes of text in such a step, give or take one message."""

Encode = Callable[[Message], bytes]


class Excerpt(Value, frozen=True, kw_only=True):
    """Encoded messages as a JSON array, oldest first.

    ``first`` and ``last`` are the sequence numbers at its ends, 0 if it is empty. ``truncated`` is true if messages
    that were asked for have no place in its bytes.
    """

    data: bytes
    count: int
    first: int
    last: int
    truncated: bool


class Replay(Value, frozen=True, kw_only=True):
    """What a join is sent: encoded messages, how many, the newest's number (0 without one), and whether that is all."""

    data: bytes
    count: int
    last: int
    complete: bool


async def replay(chat: Chat, room: str, encode: Encode, since: int | None = None) -> Replay:
    """The newest ``limits.history`` messages, or of those after ``since`` the newest ``limits.replay``.

    ``complete`` is false if the first do not fit into ``limits.join_bytes``, or if more was missed than is given.
    """
    limit = chat.limits.history if since is None else chat.limits.replay
    found = await excerpt(chat, room, encode, limit=limit, max_bytes=chat.limits.join_bytes, after=since or 0)
    complete = not found.truncated
    if since is not None and found.count == limit and found.first > since + 1:
        complete = not await chat.store.history(room, 1, after=since, before=found.first)
    return Replay(data=found.data, count=found.count, last=found.last, complete=complete)


async def excerpt(
    chat: Chat,
    room: str,
    encode: Encode,
    *,
    limit: int,
    max_bytes: int,
    offset: int = 0,
    after: int = 0,
    before: int = SEQ_MAX,
) -> Excerpt:
    """The newest ``limit`` messages with numbers between ``after`` and ``before``, after skipping ``offset`` of them.

    At least one is given if there is one; of more than ``max_bytes`` bytes the newest that fit.
    """
    parts: list[bytes] = []
    size, first, last, more = 2, before, 0, True
    while more and len(parts) < limit:
        if parts:
            await asyncio.sleep(0)
        step, budget = min(STEP, limit - len(parts)), min(STEP_BYTES, max(1, max_bytes - size))
        found = await chat.store.history(room, step, offset, after=after, before=first, max_bytes=budget)
        offset, taken = 0, 0
        for message in reversed(found):
            part = encode(message)
            if parts and size + taken + len(part) + 1 > max_bytes:
                return _excerpt(parts, first, last, truncated=True)
            parts.append(part)
            taken += len(part) + 1
            first, last = message.seq, max(last, message.seq)
        size += taken
        more = bool(found) and (len(found) == step or taken >= budget)  # else the store has no more
    return _excerpt(parts, first, last, truncated=False)


def _excerpt(parts: list[bytes], first: int, last: int, *, truncated: bool) -> Excerpt:
    data = b"[" + b",".join(reversed(parts)) + b"]"
    return Excerpt(data=data, count=len(parts), first=first if parts else 0, last=last, truncated=truncated)
