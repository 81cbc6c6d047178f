"""Faults that lose the answer of a successful commit, so that the server must find out what happened."""

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
from chatsys.lab.faults.fault import UNNOTICED, Concern, Context, fault
from chatsys.lab.faults.site import SiteServer

_TIMEOUT = 6.0
ONCE = "The action happens exactly once or not at all, and the lists of members are correct."


async def _lose(server: SiteServer, statement: str, work: Awaitable[object] | None = None) -> None:
    """Lose the answer of the next commit with ``statement``, such as one of ``work``. Raises OperatorError for none."""
    lost = server.proxy.lose(statement)
    try:
        if work is not None:
            with suppress(SocketIOError):
                await work
        async with asyncio.timeout(_TIMEOUT):
            await lost.wait()
    except TimeoutError:
        raise OperatorError(f"No commit of {statement!r} within {_TIMEOUT:g} s, so no answer was lost.") from None
    finally:
        server.proxy.wanted = None


@fault("answer of a commit lost: send", Concern.DATABASE, ONCE, short=True)
async def send(context: Context) -> None:
    """Lose the answer of a commit of somebody's message."""
    await _lose(context.random_server(), r"INSERT INTO messages")


@fault("answer of a commit lost: join", Concern.CLIENT, ONCE, short=True)
async def join(context: Context) -> None:
    """Lose the answer of a guest's join; the guest then disconnects."""
    server = context.random_server()
    socket = await connected(server.address())
    await _lose(server, r"INSERT INTO active_sessions", socket.call("join", _new_guest(context)))
    socket.abort()


@fault("answer of a commit lost: leave", Concern.CLIENT, ONCE, short=True)
async def leave(context: Context) -> None:
    """Lose the answer when a guest leaves the room."""
    server = context.random_server()
    socket = await connected(server.address())
    await socket.call("join", _new_guest(context))
    await _lose(server, r"end_sessions", socket.call("leave-room"))
    socket.abort()


def _new_guest(context: Context) -> dict[str, str]:
    """The join request of a new guest."""
    return {"room": context.room, "username": "passing", "userId": f"passing-{secrets.token_hex(4)}"}


@fault("answer of a commit lost: account deletion", Concern.CLIENT, ONCE)
async def account_deletion(context: Context) -> None:
    """Lose the answer of an account deletion while the owner is in the room."""
    server = context.random_server()
    account = await asyncio.to_thread(register, server.address())
    socket = await connected(server.address())
    await socket.call("join", {"room": context.room, "token": account["token"]})
    await _lose(server, r"DELETE FROM users", asyncio.to_thread(delete, server.address(), account))
    socket.abort()


@fault("an account deleted while it sends", Concern.CLIENT, UNNOTICED, seconds=2)
async def deleted_while_sending(context: Context) -> None:
    """Delete an account while its owner sends in a separate room, because the deletion removes the messages."""
    server = context.random_server()
    account = await asyncio.to_thread(register, server.address())
    socket = await connected(server.address())
    await socket.call("join", {"room": f"own {secrets.token_hex(4)}", "token": account["token"]})
    deletion = asyncio.create_task(asyncio.to_thread(delete, server.address(), account))
    with suppress(SocketIOError):
        for number in range(200):
            socket.emit("send-message", {"message": f"number {number}"})
            await asyncio.sleep(0.005)
    status = await deletion
    socket.abort()
    if status != 200:
        raise OperatorError(f"The server answered the deletion of an account with status {status}.")


def register(url: str) -> dict[str, Any]:
    """Register a new account and return the server's answer. Raises OperatorError if it refuses."""
    name = f"fault_{secrets.token_hex(6)}"
    fields = {"username": name, "email": f"{name}@fault.example", "password": "correct horse"}
    status, content = request(url, "POST", "/api/auth/register", fields)
    if status != 201:
        raise OperatorError(f"An account could not be created: {status} {content!r}")
    answer: dict[str, Any] = msgspec.json.decode(content)
    return answer


def delete(url: str, account: dict[str, Any]) -> int:
    """Delete an account and return the status of the answer."""
    return request(url, "DELETE", f"/api/users/{account['user']['userId']}", token=account["token"])[0]
