"""Verbs for operating a server (contract §11 and §14.6)."""

from __future__ import annotations

from chatsys.chat.bundle import Chat
from chatsys.chat.endings import publish_ended
from chatsys.chat.fanout import ServerLost
from chatsys.model.values import StoreInfo


async def ping(chat: Chat) -> StoreInfo:
    """Information about the store. Raises StoreUnavailable if it does not answer."""
    return await chat.store.ping()


async def check_writing(chat: Chat) -> None:
    """Commit a tiny write. Raises the StoreError that says why the store accepts no messages."""
    await chat.store.check_writing(chat.server_id)


async def activity(chat: Chat) -> tuple[int, int]:
    """How many sessions there are, and in how many rooms."""
    return await chat.store.activity()


async def heartbeat(chat: Chat) -> None:
    """Record that this server is alive; end the sessions of dead servers, and notify their rooms."""
    lost = await chat.store.register_server(chat.server_id, chat.clock.now())
    await publish_ended(chat.fanout, lost)
    for room, servers in {ended.session.room: ended.servers for ended in lost}.items():
        await chat.fanout.publish(ServerLost(room=room), servers)


async def retire(chat: Chat) -> None:
    """End all sessions of this server, and notify their rooms."""
    await publish_ended(chat.fanout, await chat.store.retire_server(chat.server_id, chat.clock.now()))
