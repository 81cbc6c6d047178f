"""Remove mechanisms of the server by replacing the functions that implement them."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

VARIABLE = "FAULTS_PATCH"
"""The environment variable that tells a server which patch to apply."""
Function = Callable[..., Any]


class Patch(NamedTuple):
    """``target`` is ``module:name`` or ``module:Class.name``; ``replacement`` makes the new function from the old."""

    target: str
    replacement: Callable[[Function], Function]


def _no_op(_original: Function) -> Function:
    """A function that does nothing."""
    return lambda *_args, **_named: None


def _async_no_op(_original: Function) -> Function:
    """A coroutine function that does nothing and returns an empty list."""

    async def nothing(*_args: object) -> list[object]:
        return []

    return nothing


def _without_client_id(original: Function) -> Function:
    """Treat each message as a new one."""

    @functools.wraps(original)
    async def send(chat: Any, session: Any, text: object, _client_message_id: object = None) -> Any:
        return await original(chat, session, text)

    return send


def _published_if_not_stored(original: Function) -> Function:
    """Publish a message even if it could not be stored, with the number that it would probably have got."""
    import msgspec

    from chatsys.chat.bundle import new_id
    from chatsys.chat.fanout import MessagePosted
    from chatsys.errors import StoreError

    newest: dict[str, Any] = {}

    @functools.wraps(original)
    async def send(chat: Any, session: Any, text: object, client_message_id: object = None) -> Any:
        try:
            posted = await original(chat, session, text, client_message_id)
        except StoreError:
            last = newest.get(session.room)
            if last is not None:
                message = msgspec.structs.replace(last, message_id=new_id(), seq=last.seq + 1, text=text)
                newest[session.room] = message
                await chat.fanout.publish(MessagePosted(room=session.room, message=message))
            raise
        newest[session.room] = posted.message
        return posted

    return send


def _whole_batch(_original: Function) -> Function:
    """Let writes that wait for a locked row delay the other writes of their flush."""

    async def without_locked(_writer: Any, _queue: Any, batch: Any) -> Any:
        return batch

    return without_locked


_WRITER = "chatsys.store.postgres.writer:Writer"
PATCHES = {
    "repeated sends": [Patch("chatsys.chat.conversation:send", _without_client_id)],
    "publish after commit": [Patch("chatsys.chat.conversation:send", _published_if_not_stored)],
    "gaps": [Patch("chatsys.realtime.sequence:Sequence.read_soon", _no_op)],
    "locked rows": [Patch(f"{_WRITER}._without_locked", _whole_batch), Patch(f"{_WRITER}._go_beside", _no_op)],
    "slow flushes": [Patch(f"{_WRITER}._go_beside", _no_op)],
    "client-side deadline": [Patch("chatsys.store.postgres.links:Link.expire", _no_op)],
    "bus token": [Patch("chatsys.bus.peers:BrokerBus._prove_life", _async_no_op)],
    "uncertain sessions": [Patch("chatsys.chat.endings:Endings.unanswered", _no_op)],
    "dead servers": [Patch("chatsys.store.postgres.leases:Leases._end", _async_no_op)],
    "embedded": [Patch("chatsys.database.embedded.server:EmbeddedServer._revive", _no_op)],
}
"""The patches that remove each mechanism together."""


def resolve(patch: Patch) -> tuple[Any, str]:
    """The module or class that holds the target, and its name there. Raises AttributeError or ImportError."""
    module, _, path = patch.target.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    getattr(holder, name)
    return holder, name


def apply(name: str) -> None:
    """Remove a mechanism in this process."""
    for patch in PATCHES[name]:
        holder, attribute = resolve(patch)
        setattr(holder, attribute, patch.replacement(getattr(holder, attribute)))
