"""Parts of a room's history, bounded in messages and in bytes, made in steps (contract §6.3, §9.1, §14.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from chatsys.chat.bundle import Chat
from chatsys.model.rules import SEQ_MAX
from chatsys.model.values import Message, Value

STEP = 100
"""Messages that are read and encoded before other tasks run."""

STEP_BYTES = 1_048_576
"""Bytes of text in such a step, plus or minus one message."""

Encode = Callable[[Sequence[Message]], bytes]
"""Encodes messages as a JSON array."""


class Excerpt(Value, frozen=True, kw_only=True):
    """Encoded messages as a JSON array, oldest first.

    ``first`` and ``last`` are the sequence numbers at its ends, 0 if it is empty. ``truncated`` is true if some of the
    requested messages did not fit into the bytes.
    """

    data: bytes
    count: int
    first: int
    last: int
    truncated: bool


class Replay(Value, frozen=True, kw_only=True):
    """The messages that a join returns, encoded: their count, the newest number (0 if none), and whether it is all."""

    data: bytes
    count: int
    last: int
    complete: bool


async def replay(chat: Chat, room: str, encode: Encode, since: int | None = None) -> Replay:
    """The newest ``limits.history`` messages; with ``since``, the newest ``limits.replay`` messages after it.

    ``complete`` is false if the oldest of them do not fit into ``limits.join_bytes``, or if more messages were missed.
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

    If they have more than ``max_bytes`` bytes, it has the newest that fit, but at least one.
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


def _newest(found: list[Message], encode: Encode, space: int, before: list[bytes]) -> tuple[bytes, int]:
    """The newest of these messages that fit into ``space`` bytes, as an array, and how many.

    If nothing came ``before``, it has at least one. They are encoded one by one only if all together do not fit.
    """
    part = encode(found)
    if len(part) - 1 <= space:
        return part, len(found)
    fitting: list[bytes] = []
    for message in reversed(found):
        each = encode([message])
        space -= len(each) - 1
        if space < 0 and (before or fitting):
            break
        fitting.append(each)
    return _together(fitting), len(fitting)


def _together(arrays: list[bytes]) -> bytes:
    """The arrays as one, from the last to the first; a single one, the usual case, is not copied."""
    if len(arrays) == 1:
        return arrays[0]
    return b"[" + b",".join([array[1:-1] for array in reversed(arrays)]) + b"]"
