"""Mechanisms of the server that can be taken away, each by replacing one function. The product knows nothing of it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

VARIABLE = "FAULTS_PATCH"
"""Names the patch in the environment of a server."""
Function = Callable[..., Any]


class Patch(NamedTuple):
    """``target`` is ``module:name`` or ``module:Class.name``; ``replacement`` makes the new function of the old one."""

    target: str
    replacement: Callable[[Function], Function]


def _nothing(_original: Function) -> Function:
    """A function that does nothing."""
    return lambda *_args, **_named: None


def _nothing_awaited(_original: Function) -> Function:
    """A coroutine function that does nothing, and ends nobody's session."""

    async def nothing(*_args: object) -> list[object]:
        return []

    return nothing


def _without_client_id(original: Function) -> Function:
    """Each message is a new one."""

    @functools.wraps(original)
    async def send(chat: Any, session: Any, text: object, _client_message_id: object = None) -> Any:
        return await original(chat, session, text)

    return send


def _published_if_not_stored(original: Function) -> Function:
    """A message that could not be stored is shown all the same, under the number that it would probably have got."""
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
    """Writes that need a locked row keep the writes of their flush with them."""

    async def without_locked(_writer: Any, _queue: Any, batch: Any) -> Any:
        return batch

    return without_locked


_WRITER = "chatsys.store.postgres.writer:Writer"
PATCHES = {
    "repeated sends": [Patch("chatsys.chat.conversation:send", _without_client_id)],
    "publish after commit": [Patch("chatsys.chat.conversation:send", _published_if_not_stored)],
    "gaps": [Patch("chatsys.realtime.sequence:Sequence.read_soon", _nothing)],
    "locked rows": [Patch(f"{_WRITER}._without_locked", _whole_batch), Patch(f"{_WRITER}._go_beside", _nothing)],
    "slow flushes": [Patch(f"{_WRITER}._go_beside", _nothing)],
    "client-side deadline": [Patch("chatsys.store.postgres.links:Link.expire", _nothing)],
    "bus token": [Patch("chatsys.bus.peers:BrokerBus._prove_life", _nothing_awaited)],
    "uncertain sessions": [Patch("chatsys.chat.endings:Endings.unanswered", _nothing)],
    "dead servers": [Patch("chatsys.store.postgres.leases:Leases._end", _nothing_awaited)],
    "embedded": [Patch("chatsys.database.embedded.server:EmbeddedServer._revive", _nothing)],
}
"""The functions that each mechanism consists of."""


def resolve(patch: Patch) -> tuple[Any, str]:
    """What holds the target, and its name there. Raises AttributeError or ImportError if there is none."""
    module, _, path = patch.target.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    getattr(holder, name)
    return holder, name


def apply(name: str) -> None:
    """Take a mechanism away, in this process."""
    for patch in PATCHES[name]:
        holder, attribute = resolve(patch)
        setattr(holder, attribute, patch.replacement(getattr(holder, attribute)))
