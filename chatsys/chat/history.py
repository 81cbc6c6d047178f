"""Parts of a room's history, bounded in messages and in bytes, made in steps (contract §6.3, §9.1, §14.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from chatsys.chat.bundle import Chat
from chatsys.model.rules import SEQ_MAX
from chatsys.model.values import Message, Value

STEP = 100
"""Messages that are read and encoded before others have their turn."""

STEP_BYTES = 1_048_576
"""Bytes of text in such a step, give or take one message."""

Encode = Callable[[Sequence[Message]], bytes]
"""Gives messages as a JSON array."""


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
    size, count, first, last, more, truncated = 2, 0, before, 0, True, False
    while more and count < limit and not truncated:
        if parts:
            await asyncio.sleep(0)
        step, budget = min(STEP, limit - count), min(STEP_BYTES, max(1, max_bytes - size))
        found = await chat.store.history(room, step, offset, after=after, before=first, max_bytes=budget)
        if not found:
            break
        part, fitting = _newest(found, encode, max_bytes - size, parts)
        truncated = fitting < len(found)
        more = len(found) == step or len(part) >= budget  # else the store has no more
        if fitting:
            parts.append(part)
            size += len(part) - 1
            count += fitting
            offset, first, last = 0, found[-fitting].seq, max(last, found[-1].seq)
    return Excerpt(data=_together(parts), count=count, first=first if parts else 0, last=last, truncated=truncated)


def _newest(found: list[Message], encode: Encode, room: int, before: list[bytes]) -> tuple[bytes, int]:
    """The newest of these messages that have room, as an array, and how many; one at least if there are none yet.

    They are encoded together, and one by one only where they have no room.
    """
    part = encode(found)
    if len(part) - 1 <= room:
        return part, len(found)
    fitting: list[bytes] = []
    for message in reversed(found):
        each = encode([message])
        room -= len(each) - 1
        if room < 0 and (before or fitting):
            break
        fitting.append(each)
    return _together(fitting), len(fitting)


def _together(arrays: list[bytes]) -> bytes:
    """The arrays as one, from the last to the first; one alone, the usual case, is not copied."""
    if len(arrays) == 1:
        return arrays[0]
    return b"[" + b",".join([array[1:-1] for array in reversed(arrays)]) + b"]"
