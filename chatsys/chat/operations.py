"""Verbs for those who run the server (contract §11 and §14.6)."""

from __future__ import annotations

from chatsys.chat.bundle import Chat
from chatsys.chat.endings import tell_ended
from chatsys.chat.fanout import ServerLost
from chatsys.model.values import StoreInfo


async def ping(chat: Chat) -> StoreInfo:
    """Ask the store who it is. Raises StoreUnavailable if it does not answer."""
    return await chat.store.ping()


async def check_writing(chat: Chat) -> None:
    """Commit something tiny. Raises the StoreError that says why the store takes no messages."""
    await chat.store.check_writing(chat.server_id)


async def activity(chat: Chat) -> tuple[int, int]:
    """How many sessions there are, and in how many rooms."""
    return await chat.store.activity()


async def heartbeat(chat: Chat) -> None:
    """Say that this server lives; end the sessions of servers that are dead, and tell their rooms."""
    lost = await chat.store.register_server(chat.server_id, chat.clock.now())
    await tell_ended(chat.fanout, lost)
    for room in dict.fromkeys(ended.session.room for ended in lost):
        await chat.fanout.publish(ServerLost(room=room))


async def retire(chat: Chat) -> None:
    """End all sessions of this server, and tell their rooms."""
    await tell_ended(chat.fanout, await chat.store.retire_server(chat.server_id, chat.clock.now()))
