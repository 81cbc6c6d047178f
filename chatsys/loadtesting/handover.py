"""What a generator process hands over at the end of a run, and the sum over several processes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import gevent
import msgspec
from gevent.pool import Pool

from chatsys.loadtesting.run import RUN
from chatsys.loadtesting.socketio_user import FIGURES
from chatsys.loadtesting.validity import Measurements
from chatsys.results.audit import Unreadable, back_to, newest
from chatsys.results.ledger import Books

DRAIN = 10.0
"""Seconds without new packets after which messages in flight count as lost."""
DRAIN_LIMIT = 45.0
"""Upper limit in seconds for a server to deliver what it has queued."""


class Handover(msgspec.Struct):
    """The results of one process, or the sum of several.

    ``untimed`` counts events sent without requesting an acknowledgement, and ``unhandled`` received events that are not
    timed, both by event name. ``elsewhere`` counts the pushes from senders on other hosts. ``dialects`` has more than
    one name if processes detected different dialects.
    """

    books: Books
    generators: dict[str, Measurements]
    untimed: dict[str, int]
    unhandled: dict[str, int]
    elsewhere: int
    dialects: set[str]


def drain(name: str) -> Handover:
    """Wait for messages in flight, close all connections, and return the results of this process, called ``name``."""
    wait_until(lambda: not RUN.pending, DRAIN)
    while RUN.pending:
        token, room = RUN.pending.popitem()
        dialect = RUN.dialect
        FIGURES.failure(
            dialect.confirmation, dialect.send_event, f"no {dialect.confirmation} {DRAIN:g} s after the last send"
        )
        room.unconfirmed(token)
    deadline = time.monotonic() + DRAIN_LIMIT
    if RUN.dialect.numbered:
        Pool(10).map(_read_newest, [room for room, book in RUN.ledger.rooms.items() if book.members])
    if RUN.dialect.reads_back and not RUN.dialect.numbered:
        _await_stored(deadline)
    else:
        _await_pushes(deadline)
    gevent.sleep(0.5)  # so that a duplicate or unexpected push at the very end is counted too
    books = RUN.ledger.close()
    for user in RUN.lingering:
        user.io.disconnect()
    FIGURES.flush()
    unhandled = {event.decode("utf-8", "replace"): count for event, count in RUN.unhandled.items()}
    return Handover(books, {name: RUN.watch.seen}, RUN.untimed, unhandled, RUN.elsewhere, {RUN.dialect.name})


def _await_pushes(deadline: float) -> None:
    began = time.monotonic()
    wait_until(lambda: RUN.ledger.settled() or _seconds_quiet(began) > DRAIN, deadline - began)


def _await_stored(deadline: float) -> None:
    """Read back repeatedly until nothing new is stored: a slow server may still be storing the last messages."""
    rooms: list[Any] = list(RUN.ledger.rooms.values())
    Pool(10).map(_read_back, rooms)
    while True:
        _await_pushes(deadline)
        behind = [room for room, more in zip(rooms, Pool(10).map(_has_more, rooms), strict=True) if more]
        if not behind or time.monotonic() >= deadline:
            return
        Pool(10).map(_read_back, behind)


def _has_more(room: Any) -> bool:
    """Whether the server has stored something in the room since it was read back."""
    if room.stored is None:
        return False
    try:
        newest_id = next((message.id for message in RUN.dialect.stored(RUN.rest.read, room.name, 0)), None)
    except Unreadable:  # the audit reads the same history and reports this error
        return False
    return newest_id is not None and room.stored[-1:] != [newest_id]


def _read_newest(room: str) -> None:
    """Read the newest sequence number: messages of other processes may still be queued and unseen by this one."""
    account = RUN.ledger.room(room).account
    with suppress(Unreadable):  # the audit reads the same history and reports this error
        account.newest = max(account.newest, newest(RUN.rest.read, room))


def _read_back(room: Any) -> None:
    """Read what is stored, to compare it with what each member in this process received."""
    stored = RUN.dialect.stored(RUN.rest.read, room.name, 0)
    try:
        ids = [message.id for message in back_to(stored, room.oldest())]
    except Unreadable as error:
        RUN.ledger.incomplete.append(f"room {room.name}: what is stored can't be read back: {error}")
        return
    room.read_back(ids[::-1])


def _seconds_quiet(began: float) -> float:
    """Seconds since the last packet to a user who is still connected, but at most since ``began``."""
    return time.monotonic() - max((began, *(user.io.last_received for user in RUN.lingering)))


def together(run: str, parts: Iterable[Handover]) -> Handover:
    """The sum of the results of all processes."""
    total = Handover(Books(run), {}, Counter(), Counter(), 0, set())
    for part in parts:
        total.books.merge(part.books)
        total.generators |= part.generators
        total.untimed = Counter(total.untimed) + Counter(part.untimed)
        total.unhandled = Counter(total.unhandled) + Counter(part.unhandled)
        total.elsewhere += part.elsewhere
        total.dialects |= part.dialects
    return total


def wait_until(done: Callable[[], bool], seconds: float) -> None:
    """Wait until ``done()`` is true, for at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        gevent.sleep(0.05)
