"""A failure never shows a client the store's own words."""

from __future__ import annotations

import pytest

from chatsys import errors
from chatsys.realtime.routes import _refusal
from chatsys.wire import catalogue
from chatsys.wire.objects import encode

SECRET = "role chat on db.internal lacks INSERT, constraint users_email_key"
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.StoreError) and "__init__" not in vars(kind)
]


class FakeConnection:
    """A connection that records what was sent to it."""

    socket_id = "ear"

    def __init__(self) -> None:
        self.pushed: list[bytes] = []

    def send(self, out, **_: object) -> None:
        self.pushed.append(out.frame)


@pytest.mark.parametrize("event", [row.name for row in catalogue.INCOMING])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_answers_and_error_events_hide_the_text_of_the_store(kind: type[errors.StoreError], event: str) -> None:
    client = FakeConnection()
    answer = _refusal(client, event, kind(SECRET, hint=SECRET))  # type: ignore[arg-type]
    said = encode(answer) + b"".join(client.pushed)
    assert b"store_unavailable" in said
    assert not [word for word in SECRET.encode().split() if len(word) > 3 and word in said]
