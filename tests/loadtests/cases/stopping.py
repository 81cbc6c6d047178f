"""What remains of a user that did not stop in time and is killed at an arbitrary point."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import gevent
import msgspec
from gevent.pool import Group
from gevent.pywsgi import WSGIServer

from chatsys.client.errors import ConnectionLost
from chatsys.loadtesting import rest
from chatsys.loadtesting.personas import ChatUser
from chatsys.loadtesting.run import RUN
from chatsys.results.audit import history, judged, newest
from chatsys.results.ledger import LedgerMember, MessageLedger
from chatsys.results.stamps import text_of


def requests_find_a_connection_after_users_were_killed() -> None:
    """The process is busy, so some users are killed while they check whether a connection from the pool is alive."""
    server = WSGIServer(("127.0.0.1", 0), _answer, log=None)
    server.start()
    rest.PLACES = 10
    ours = rest.Rest(f"http://127.0.0.1:{server.server_port}")
    others = [gevent.spawn(_work) for _ in range(3)]
    users = Group()
    try:
        for _ in range(300):
            users.spawn(_read, ours)
        gevent.sleep(0.5)
        users.kill()
        with gevent.Timeout(20, AssertionError("no connection is left")):
            assert ours.request("GET", "/")[0] == 200
    finally:
        gevent.killall(others)
        ours.close()
        server.stop()


def _read(ours: rest.Rest) -> None:
    while True:
        ours.request("GET", "/")


def _work() -> None:
    while True:
        until = time.perf_counter() + 0.004
        while time.perf_counter() < until:
            pass
        gevent.sleep(0)


def _answer(environ: dict[str, Any], start: Any) -> list[bytes]:
    start("200 OK", [])
    return [b"x" * 2_000]


def _sender() -> tuple[Any, Any]:
    """Return a user whose connection was lost, and the room."""

    def lost(*_: object) -> None:
        raise ConnectionLost("closed by the server")

    RUN.begin()
    RUN.ledger = MessageLedger()
    RUN.ledger.open("run")
    room = RUN.ledger.room("attic")
    user = SimpleNamespace(
        member=SimpleNamespace(room=room), room="attic", io=SimpleNamespace(call=lost, connected=False), timeout=60.0
    )
    for name in ("_message", "_confirmed", "_wait_until"):
        setattr(user, name, getattr(ChatUser, name).__get__(user))
    return user, room


def user_that_wakes_while_the_run_ends_sends_nothing() -> None:
    user, room = _sender()
    RUN.ending = True
    with gevent.Timeout(5):
        ChatUser.send(user)
    RUN.begin()
    assert (room.account.sent, room.account.unconfirmed) == (0, [])


def message_of_a_killed_disconnected_sender_is_unconfirmed() -> None:
    user, room = _sender()
    sending = gevent.spawn(ChatUser.send, user)
    gevent.sleep(0.05)
    assert room.account.unconfirmed == []
    sending.kill()
    assert (room.account.sent, len(room.account.unconfirmed)) == (1, 1)


def only_messages_stored_while_somebody_listened_count_as_missed() -> None:
    ledger = MessageLedger()
    ledger.open("run")
    room = ledger.room("attic")
    listener = LedgerMember(room)
    listener.begin(0)
    texts = [text_of("run", token, 1, 1) for token in ("first", "second")]
    room.acknowledged(texts[0], 1, "1")
    listener.receive(1, "1", texts[0])
    room.unconfirmed("second")
    books = ledger.close()
    stored = [{"id": str(seq), "seq": seq, "message": text} for seq, text in enumerate(texts, 1)]
    read = lambda _: msgspec.json.encode({"data": stored})  # noqa: E731
    stored_after = lambda room, base: history(read, room, base)  # noqa: E731
    assert judged(books, stored_after).total.deviations == 0
    books.rooms["attic"].newest = newest(read, "attic")
    assert judged(books, stored_after).total.dropped == 1
