"""What a generator process hands over at the end of a run, and how several processes' add up."""

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
"""Seconds without anything new after which what is under way counts as lost."""
DRAIN_MOST = 45.0
"""Seconds that a server gets to deliver what it has queued, however much still comes."""


class Handover(msgspec.Struct):
    """One process at its end, or several added up.

    ``untimed`` counts what was sent without asking for an acknowledgement, ``unhandled`` what came and nobody times,
    both by event; ``elsewhere`` the pushes that came from senders on other hosts. ``dialects`` is one, or more where
    processes found different ones.
    """

    books: Books
    generators: dict[str, Measurements]
    untimed: dict[str, int]
    unhandled: dict[str, int]
    elsewhere: int
    dialects: set[str]


def drain(name: str) -> Handover:
    """Wait for what is under way, close all connections, and give what this process, ``name``, knows."""
    wait_until(lambda: not RUN.pending, DRAIN)
    while RUN.pending:
        token, room = RUN.pending.popitem()
        spoken = RUN.dialect
        FIGURES.failure(
            spoken.confirmation, spoken.send_event, f"no {spoken.confirmation} {DRAIN:g} s after the last send"
        )
        room.unconfirmed(token)
    deadline = time.monotonic() + DRAIN_MOST
    if RUN.dialect.numbered:
        Pool(10).map(_learn_of_the_newest, [room for room, book in RUN.ledger.rooms.items() if book.members])
        _await_pushes(deadline)
    elif RUN.dialect.reads_back:
        _await_all_that_is_stored(deadline)
    else:
        _await_pushes(deadline)
    gevent.sleep(0.5)  # a doubled or unasked-for push that comes last is seen too
    books = RUN.ledger.close()
    for user in RUN.lingering:
        user.io.disconnect()
    FIGURES.flush()
    unhandled = {event.decode("utf-8", "replace"): count for event, count in RUN.unhandled.items()}
    return Handover(books, {name: RUN.watch.seen}, RUN.untimed, unhandled, RUN.elsewhere, {RUN.dialect.name})


def _await_pushes(deadline: float) -> None:
    begun = time.monotonic()
    wait_until(lambda: RUN.ledger.settled() or _quiet_since(begun) > DRAIN, deadline - begun)


def _await_all_that_is_stored(deadline: float) -> None:
    """A server that is behind stores what was sent last while this process waits: read until there is nothing new."""
    rooms: list[Any] = list(RUN.ledger.rooms.values())
    Pool(10).map(_read_back, rooms)
    while True:
        _await_pushes(deadline)
        behind = [room for room, more in zip(rooms, Pool(10).map(_has_more, rooms), strict=True) if more]
        if not behind or time.monotonic() >= deadline:
            return
        Pool(10).map(_read_back, behind)


def _has_more(room: Any) -> bool:
    """Whether something was stored since a room was read back."""
    if room.stored is None:
        return False
    try:
        newest_id = next((message.id for message in RUN.dialect.stored(RUN.rest.read, room.name, 0)), None)
    except Unreadable:  # the audit reads the same history, and says so
        return False
    return newest_id is not None and room.stored[-1:] != [newest_id]


def _learn_of_the_newest(room: str) -> None:
    """What others have sent last may still be queued in the server, and nobody here has heard of it."""
    account = RUN.ledger.room(room).account
    with suppress(Unreadable):  # the audit reads the same history, and says so
        account.newest = max(account.newest, newest(RUN.rest.read, room))


def _read_back(room: Any) -> None:
    """What is stored, for the comparison with what each member of this process got."""
    stored = RUN.dialect.stored(RUN.rest.read, room.name, 0)
    try:
        ids = [message.id for message in back_to(stored, room.oldest())]
    except Unreadable as error:
        RUN.ledger.incomplete.append(f"room {room.name}: what is stored can't be read back: {error}")
        return
    room.read_back(ids[::-1])


def _quiet_since(begun: float) -> float:
    """Seconds since a packet came to a user who has stayed, or since ``begun``."""
    return time.monotonic() - max((begun, *(user.io.last_heard for user in RUN.lingering)))


def together(run: str, parts: Iterable[Handover]) -> Handover:
    """All processes' added up."""
    whole = Handover(Books(run), {}, Counter(), Counter(), 0, set())
    for part in parts:
        whole.books.merge(part.books)
        whole.generators |= part.generators
        whole.untimed = Counter(whole.untimed) + Counter(part.untimed)
        whole.unhandled = Counter(whole.unhandled) + Counter(part.unhandled)
        whole.elsewhere += part.elsewhere
        whole.dialects |= part.dialects
    return whole


def wait_until(done: Callable[[], bool], seconds: float) -> None:
    """Wait until ``done`` says so, at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        gevent.sleep(0.05)
