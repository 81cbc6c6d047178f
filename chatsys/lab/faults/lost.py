"""A commit succeeds and its answer is lost: the server can't know, and must find out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import msgspec

from chatsys.client.asynchronous import connected
from chatsys.client.errors import SocketIOError
from chatsys.client.requests import request
from chatsys.errors import OperatorError
from chatsys.lab.faults.fault import UNNOTICED, Concern, Hit, fault
from chatsys.lab.faults.site import SiteServer

_PATIENCE = 6.0
ONCE = "It has happened exactly once, or not at all, and the lists of members are true."


async def _lose(server: SiteServer, statement: str, work: Awaitable[object] | None = None) -> None:
    """Lose the answer of the next such commit, perhaps one of ``work``. Raises OperatorError if there is none."""
    lost = server.proxy.lose(statement)
    try:
        if work is not None:
            with suppress(SocketIOError):
                await work
        async with asyncio.timeout(_PATIENCE):
            await lost.wait()
    except TimeoutError:
        raise OperatorError(f"No commit of {statement!r} came by to be lost.") from None
    finally:
        server.proxy.wanted = None


@fault("answer of a commit lost: send", Concern.DATABASE, ONCE, short=True)
async def send(hit: Hit) -> None:
    """Whoever is sending."""
    await _lose(hit.rng.choice(hit.site.servers), r"INSERT INTO messages")


@fault("answer of a commit lost: join", Concern.CLIENT, ONCE, short=True)
async def join(hit: Hit) -> None:
    """A guest joins, and goes when that fails."""
    server = hit.rng.choice(hit.site.servers)
    socket = await connected(server.address())
    await _lose(server, r"INSERT INTO active_sessions", socket.call("join", _passing(hit)))
    socket.abort()


@fault("answer of a commit lost: leave", Concern.CLIENT, ONCE, short=True)
async def leave(hit: Hit) -> None:
    """A guest is in the room and leaves."""
    server = hit.rng.choice(hit.site.servers)
    socket = await connected(server.address())
    await socket.call("join", _passing(hit))
    await _lose(server, r"end_sessions", socket.call("leave-room"))
    socket.abort()


def _passing(hit: Hit) -> dict[str, str]:
    """A new guest's join."""
    return {"room": hit.room, "username": "passing", "userId": f"passing-{secrets.token_hex(4)}"}


@fault("answer of a commit lost: account deletion", Concern.CLIENT, ONCE)
async def deletion(hit: Hit) -> None:
    """Its owner is in the room."""
    server = hit.rng.choice(hit.site.servers)
    account = await asyncio.to_thread(register, server.address())
    socket = await connected(server.address())
    await socket.call("join", {"room": hit.room, "token": account["token"]})
    await _lose(server, r"DELETE FROM users", asyncio.to_thread(remove, server.address(), account))
    socket.abort()


@fault("an account deleted while it sends", Concern.CLIENT, UNNOTICED, seconds=2)
async def deleted_while_sending(hit: Hit) -> None:
    """It sends in a room of its own: deletion takes its messages away, and a room's numbers with them."""
    server = hit.rng.choice(hit.site.servers)
    account = await asyncio.to_thread(register, server.address())
    socket = await connected(server.address())
    await socket.call("join", {"room": f"own {secrets.token_hex(4)}", "token": account["token"]})
    removing = asyncio.create_task(asyncio.to_thread(remove, server.address(), account))
    with suppress(SocketIOError):
        for number in range(200):
            socket.emit("send-message", {"message": f"number {number}"})
            await asyncio.sleep(0.005)
    status = await removing
    socket.abort()
    if status != 200:
        raise OperatorError(f"The deletion of an account was answered {status}.")


def register(url: str) -> dict[str, Any]:
    """A new account: the server's answer."""
    name = f"fault_{secrets.token_hex(6)}"
    fields = {"username": name, "email": f"{name}@fault.example", "password": "correct horse"}
    status, content = request(url, "POST", "/api/auth/register", fields)
    if status != 201:
        raise OperatorError(f"An account could not be made: {status} {content!r}")
    answer: dict[str, Any] = msgspec.json.decode(content)
    return answer


def remove(url: str, account: dict[str, Any]) -> int:
    """Delete an account; the status of the answer."""
    return request(url, "DELETE", f"/api/users/{account['user']['userId']}", token=account["token"])[0]
