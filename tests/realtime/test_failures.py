"""What a socket sends while the store hangs is answered with the event that met it, not one after another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatsys.errors import StoreUnavailable
from chatsys.protocol.events import ClientEvent
from chatsys.realtime import routes
from tests.realtime.conftest import Ear, Make, Server

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
async def away(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> tuple[Server, Ear]:
    """A server whose store has just failed a message of this socket, after a long time."""
    server = await make_server()
    ear, _ = await server.enter("tea", "ann")
    monkeypatch.setattr(routes, "LONG", 0.0)

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(server.chat.store, "post_message", fail)
    await server.routes.dispatch(ear, events("send-message"))  # type: ignore[arg-type]
    assert ear.answers.pop()["code"] == "store_unavailable"
    monkeypatch.undo()
    return server, ear


@pytest.mark.parametrize("name", NAMES)
async def test_an_event_that_came_behind_a_failure_is_refused_with_it(away: tuple[Server, Ear], name: str) -> None:
    server, ear = away
    await server.routes.dispatch(ear, events(name))  # type: ignore[arg-type]
    assert ear.answers.pop()["code"] == "store_unavailable"
    assert await server.chat.store.history("tea", 10) == []


@pytest.mark.parametrize("count", [1, 3])
async def test_an_event_that_came_after_a_failure_has_its_own_try(away: tuple[Server, Ear], count: int) -> None:
    server, ear = away
    ear.came = asyncio.get_running_loop().time()
    await server.routes.dispatch(ear, events(*["send-message"] * count))  # type: ignore[arg-type]
    assert [answer["success"] for answer in ear.answers] == [True] * count


async def test_who_leaves_behind_a_failure_is_out_at_once_and_the_session_ends_later(away: tuple[Server, Ear]) -> None:
    server, ear = away
    await server.routes.dispatch(ear, events("leave-room"))  # type: ignore[arg-type]
    assert ear.answers.pop()["success"]
    assert ear.member is None
    async with asyncio.timeout(10):
        while await server.chat.store.sessions("tea"):
            await asyncio.sleep(0.01)


async def test_a_join_whose_leave_fails_is_refused_at_once(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await make_server()
    ear, _ = await server.enter("cake", "ann")
    asked = []

    async def fail(*_: Any, **__: Any) -> Any:
        asked.append("close")
        raise StoreUnavailable

    monkeypatch.setattr(server.chat.store, "close_session", fail)
    await server.routes.dispatch(ear, events("join"))  # type: ignore[arg-type]
    assert ear.answers.pop()["code"] == "store_unavailable"
    assert asked == ["close"]
    assert ear.member is None
    await server.routes.dispatch(ear, events("join"))  # type: ignore[arg-type]
    assert ear.answers.pop()["success"]
    assert await server.chat.store.sessions("cake") == []
