"""Who may send which event: each row of docs/SECURITY.md is tried."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chatsys.wire import catalogue

from .conftest import Connect

PAGE = (Path(__file__).parents[2] / "docs" / "SECURITY.md").read_text()
ROWS = re.findall(r"^\| `([a-z-]+)` \| `?(\w+)`? \| `?(\w+)`? \| `?(\w+)`? \|$", PAGE, re.MULTILINE)


def test_every_event_has_its_row_in_the_security_page() -> None:
    assert [name for name, *_ in ROWS] == [row.name for row in catalogue.INCOMING]


@pytest.mark.parametrize(("name", "outside", "guest", "member"), ROWS, ids=lambda cell: cell)
async def test_event_is_accepted_only_from_clients_that_its_row_allows(
    connect: Connect,
    account: Callable[[], Awaitable[dict[str, Any]]],
    room: str,
    name: str,
    outside: str,
    guest: str,
    member: str,
) -> None:
    other = await connect(room=room)
    message_id = (await other.send("hello"))["id"]
    payload: Any = {"room": room, "username": "Gus", "messageId": message_id, "message": "hi", "online": True}
    sockets = [await connect(), await connect(room=room), await connect(room=room, token=(await account())["token"])]
    answers = [await socket.call(name, payload) for socket in sockets]
    assert [answer.get("code", "yes") for answer in answers] == [outside, guest, member]
