"""Events sent while the store hangs are refused together with the first failed event, not one after another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatsys.errors import StoreUnavailable
from chatsys.protocol.events import ClientEvent
from chatsys.realtime import routes
from tests.realtime.conftest import FakeConnection, Make, Server

NAMES = ["send-message", "message-delivered", "message-read", "mark-all-read", "update-online-status", "join"]


def events(*names: str) -> list[ClientEvent]:
    payloads: dict[str, Any] = {
        "send-message": {"message": "hello"},
        "mark-all-read": {"room": "tea"},
        "update-online-status": {"online": True},
        "join": {"room": "tea", "username": "ann"},
    }
    receipt = {"room": "tea", "messageId": "0190b1a0-0000-7000-8000-000000000000"}
    return [ClientEvent(name=name, payload=payloads.get(name, receipt), ack_id=1) for name in names]


@pytest.fixture
async def failing_store(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> tuple[Server, FakeConnection]:
    """A server whose store has just failed a message of this socket, after a long time."""
    server = await make_server()
    client, _ = await server.enter("tea", "ann")
    monkeypatch.setattr(routes, "LONG", 0.0)

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(server.chat.store, "post_message", fail)
    await server.routes.dispatch(client, events("send-message"))  # type: ignore[arg-type]
    assert client.answers.pop()["code"] == "store_unavailable"
    monkeypatch.undo()
    return server, client


@pytest.mark.parametrize("name", NAMES)
async def test_event_queued_behind_a_failure_is_refused_with_it(
    failing_store: tuple[Server, FakeConnection], name: str
) -> None:
    server, client = failing_store
    await server.routes.dispatch(client, events(name))  # type: ignore[arg-type]
    assert client.answers.pop()["code"] == "store_unavailable"
    assert await server.chat.store.history("tea", 10) == []


@pytest.mark.parametrize("count", [1, 3])
async def test_event_that_arrives_after_a_failure_is_tried(
    failing_store: tuple[Server, FakeConnection], count: int
) -> None:
    server, client = failing_store
    client.came = asyncio.get_running_loop().time()
    await server.routes.dispatch(client, events(*["send-message"] * count))  # type: ignore[arg-type]
    assert [answer["success"] for answer in client.answers] == [True] * count


async def test_leave_queued_behind_a_failure_succeeds_at_once(failing_store: tuple[Server, FakeConnection]) -> None:
    server, client = failing_store
    await server.routes.dispatch(client, events("leave-room"))  # type: ignore[arg-type]
    assert client.answers.pop()["success"]
    assert client.member is None
    async with asyncio.timeout(10):
        while await server.chat.store.sessions("tea"):
            await asyncio.sleep(0.01)


async def test_join_whose_leave_fails_is_refused_at_once(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await make_server()
    client, _ = await server.enter("cake", "ann")
    calls = []

    async def fail(*_: Any, **__: Any) -> Any:
        calls.append("close")
        raise StoreUnavailable

    monkeypatch.setattr(server.chat.store, "close_session", fail)
    await server.routes.dispatch(client, events("join"))  # type: ignore[arg-type]
    assert client.answers.pop()["code"] == "store_unavailable"
    assert calls == ["close"]
    assert client.member is None
    await server.routes.dispatch(client, events("join"))  # type: ignore[arg-type]
    assert client.answers.pop()["success"]
    assert await server.chat.store.sessions("cake") == []
