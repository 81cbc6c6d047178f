"""The REST API over each store, called through ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from chatsys.chat import conversation
from chatsys.chat.bundle import Chat, ChatLimits, open_chat
from chatsys.model.values import Session
from chatsys.realtime.fanout import SocketFanout
from chatsys.store.contract import Store
from chatsys.web import make_app
from tests.web import described

SECRET = "a secret for tests, long enough to sign with"

Account = Callable[[str], Awaitable[dict[str, str]]]
"""Creates an account by username; returns ``userId``, ``username``, ``email``, ``password``, ``token``."""

without_store = pytest.mark.parametrize("store", ["memory"], indirect=True)
"""For requests that are answered without the store: one store is enough."""

Enter = Callable[..., Awaitable[Session]]
"""Lets a guest or the owner of a token join a room."""


@pytest.fixture
async def chat(store: Store) -> AsyncIterator[Chat]:
    async with open_chat(store, secret=SECRET, fanout=SocketFanout(), limits=ChatLimits(login_attempts=3)) as opened:
        await store.register_server(opened.server_id, opened.clock.now())
        yield opened


def client_of(chat: Chat, *, address: str = "192.0.2.1", **options: object) -> httpx.AsyncClient:
    """Return a client at the address."""
    transport = httpx.ASGITransport(make_app(chat, **options), client=(address, 1))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://chat.test", event_hooks={"response": [_judge]})


async def _judge(answer: httpx.Response) -> None:
    """Check that every answer that a test gets is one that ``/openapi.json`` describes."""
    request = answer.request
    await answer.aread()
    target = request.url.raw_path.decode("latin-1")
    described.check(request.method, target, answer.status_code, answer.headers, answer.content)


@pytest.fixture
async def client(chat: Chat) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(chat) as opened:
        yield opened


@pytest.fixture
def account(client: httpx.AsyncClient) -> Account:
    async def make(username: str) -> dict[str, str]:
        sent = {"username": username, "email": f"{username.lower()}@example.org", "password": f"secret of {username}"}
        answer = await client.post("/api/auth/register", json=sent)
        assert answer.status_code == 201, answer.text
        return {**sent, "userId": answer.json()["user"]["userId"], "token": answer.json()["token"]}

    return make


@pytest.fixture
def enter(chat: Chat) -> Enter:
    async def go(room: str, *, socket_id: str, token: str | None = None, username: str = "Guest") -> Session:
        who, _ = await conversation.identify(chat, token=token, username=username, user_id=None, socket_id=socket_id)
        return (await conversation.join(chat, room, who, socket_id)).session

    return go


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
