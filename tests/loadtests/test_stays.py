"""The books of rooms without numbers: exactly the planted faults are found."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsys.results.audit import Kept, Unreadable, back_to, judged_by_stays
from chatsys.results.ledger import Books, MessageLedger
from chatsys.results.stamps import text_of
from chatsys.results.stays import Stay, StayRoom, counter

HISTORY = 5


class Client:
    """A member of the simulated room: its stay, and the messages on their way to it."""

    def __init__(self, room: StayRoom) -> None:
        self.stay = Stay(room)
        self.connected = False
        self.joined = False
        self.way: list[tuple[str, Any]] = []
        self.lost: list[str] = []
        self.got: list[str] = []

    def read(self) -> None:
        """Handle the next thing that has arrived."""
        kind, what = self.way.pop(0)
        if kind == "history":
            self.stay.show([(message, "") for message in what])
            self.joined = True
        else:
            self.stay.receive(0, what, "hello")
            self.got.append(what)


class Chat:
    """A server that orders and pushes messages, and drops or doubles some pushes to members who have the history."""

    def __init__(self, seed: int, *, faulty: bool, hurried: bool) -> None:
        self.rng = random.Random(seed)
        self.faulty = faulty
        self.hurried = hurried
        self.ledger = MessageLedger()
        self.ledger.open("run", StayRoom)
        self.room: StayRoom = self.ledger.room("attic")
        self.stored = [f"old-{number}" for number in range(self.rng.choice((0, 2, 8)))]
        self.clients: list[Client] = []
        self.dropped = self.doubled = 0

    def run(self, steps: int) -> None:
        """Run this many events, in an order that the seed determines, then deliver everything."""
        for _ in range(steps):
            self.rng.choice((self.post, self.post, self.post, self.come, self.go, self.vanish, self.back))()
            for _ in range(self.rng.randrange(4) if self.hurried else 0):
                self.arrive()
            if not self.hurried:
                self.arrive_all()
        self.arrive_all()
        for client in self.clients:
            if client.connected:
                self.dropped += len(client.lost)

    def post(self) -> None:
        """A user, counted here or elsewhere, sends a message."""
        message = f"message-{len(self.stored)}"
        self.stored.append(message)
        for client in self.clients:
            if not client.connected:
                continue
            fate = self.rng.random() if self.faulty and client.joined else 1.0
            if fate < 0.15:
                client.lost.append(message)
                continue
            if client.joined and self.faulty:  # a dropped message counts as missing once a later one arrives
                self.dropped += len(client.lost)
                client.lost = []
            client.way.append(("push", message))
            if fate < 0.25:
                client.way.append(("push", message))
                self.doubled += 1

    def come(self) -> None:
        """A new member joins."""
        self.clients.append(Client(self.room))
        self.join(self.clients[-1])

    def join(self, client: Client) -> None:
        """Subscribe it first; it gets the history after whatever happens in between."""
        client.connected, client.joined = True, False
        client.stay.visit()
        for _ in range(self.rng.randrange(3)):
            self.post()
        client.way.append(("history", self.stored[-HISTORY:]))
        if not self.hurried:
            self.arrive_all()

    def someone(self, connected: bool) -> Client | None:
        here = [client for client in self.clients if client.connected is connected]
        return self.rng.choice(here) if here else None

    def vanish(self) -> Client | None:
        """A connection is lost together with everything on its way."""
        client = self.someone(True)
        if client is not None:
            client.connected = False
            client.way, client.lost = [], []
            client.stay.disconnected()
        return client

    def go(self) -> None:
        """A member leaves for good."""
        client = self.vanish()
        if client is not None:
            client.stay.leave()
            self.clients.remove(client)

    def back(self) -> None:
        """A member returns."""
        client = self.someone(False)
        if client is not None:
            self.join(client)

    def arrive(self) -> None:
        """One thing on its way to one member arrives."""
        expecting = [client for client in self.clients if client.way]
        if expecting:
            self.rng.choice(expecting).read()

    def arrive_all(self) -> None:
        """Everything on its way arrives, oldest message first: each message reaches everybody before the next one."""
        while any(client.way for client in self.clients):
            if self.hurried:
                self.arrive()
                continue
            for message in [*self.stored, None]:
                for client in self.clients:
                    while client.way and (message is None or client.way[0] == ("push", message)):
                        client.read()
                        if message is None:
                            break

    def books(self) -> Books:
        """Return what this process knows at the end."""
        since = self.room.account.since
        kept = [Kept(message, "hello") for message in reversed(self.stored)]
        self.room.read_back([message.id for message in reversed(list(back_to(kept, since)))] if since else [])
        return self.ledger.close()


@given(st.integers(0, 2**32))
def test_exactly_the_dropped_and_doubled_pushes_are_found(seed: int) -> None:
    chat = Chat(seed, faulty=True, hurried=False)
    chat.run(40)
    account = chat.books().rooms["attic"]
    assert (account.dropped, account.doubled) == (chat.dropped, chat.doubled)


@given(st.integers(0, 2**32))
def test_correct_server_shows_no_fault_in_any_order_of_events(seed: int) -> None:
    chat = Chat(seed, faulty=False, hurried=True)
    chat.run(40)
    account = chat.books().rooms["attic"]
    assert (account.dropped, account.doubled) == (0, 0)


@pytest.mark.parametrize("readable", [True, False])
def test_message_that_no_member_got_is_missed_only_if_it_is_readable(readable: bool) -> None:
    ledger = MessageLedger()
    ledger.open("run", StayRoom)
    room: StayRoom = ledger.room("attic")
    alone = Stay(room)
    alone.visit()
    alone.show([])
    for message in ("one", "three"):
        alone.receive(0, message, "hello")
    if readable:
        room.read_back(["one", "two", "three"])
    assert ledger.close().rooms["attic"].dropped == readable


def test_gap_beyond_the_history_is_excused_and_a_gap_inside_is_not() -> None:
    ledger = MessageLedger()
    ledger.open("run", StayRoom)
    room: StayRoom = ledger.room("attic")
    member = Stay(room)
    member.visit()
    member.show([("1", ""), ("2", "")])
    member.receive(0, "3", "hello")
    member.disconnected()
    member.visit()
    member.show([("6", ""), ("7", ""), ("9", "")])
    room.read_back([str(number) for number in range(1, 10)])
    account = ledger.close().rooms["attic"]
    assert (account.excused, account.dropped, account.replayed) == (2, 1, 3)


def books_of(texts: Iterable[tuple[str, str]]) -> Books:
    """Return the books of a room whose sender got its echoes with these (id, text)."""
    ledger = MessageLedger()
    ledger.open("run", StayRoom)
    room: StayRoom = ledger.room("attic")
    member = Stay(room)
    member.visit()
    member.show([])
    for message_id, text in texts:
        room.account.sent += 1
        member.receive(0, message_id, text)
        room.acknowledged(text, 0, message_id)
    room.unconfirmed("p-9")
    room.read_back([message_id for message_id, _ in texts])
    return ledger.close()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda stored: stored, {}),
        (lambda stored: stored[1:], {"not_stored": 1}),
        (lambda stored: [*stored, Kept("x", text_of("run", "p-7", 1, 1))], {"not_acknowledged": 1}),
        (lambda stored: [*stored, Kept("x", text_of("run", "p-9", 1, 1))], {}),
        (lambda stored: [*stored, stored[0]], {"stored_twice": 1}),
        (lambda stored: [*stored, Kept("x", "somebody else's")], {}),
        (lambda stored: [Kept("x", stored[0].message), *stored[1:]], {"not_stored": 1, "not_acknowledged": 1}),
    ],
)  # fmt: skip
def test_echoed_messages_must_equal_the_stored_ones(change, found: dict[str, int]) -> None:
    texts = [(f"id-{number}", text_of("run", f"p-{number:x}", 1, 1)) for number in range(1, 4)]
    books = msgspec.json.decode(msgspec.json.encode(books_of(texts)), type=Books)
    stored = change([Kept(message_id, text) for message_id, text in texts])
    total = judged_by_stays(books, lambda _: reversed(stored)).total
    names = ("dropped", "doubled", "not_stored", "not_acknowledged", "stored_twice", "gaps")
    assert {name: getattr(total, name) for name in names if getattr(total, name)} == found


def test_history_that_cannot_be_read_makes_the_audit_incomplete() -> None:
    def unreadable(_: str) -> Iterable[Kept]:
        raise Unreadable("HTTP 500")

    audit = judged_by_stays(books_of([("id-1", text_of("run", "p-1", 1, 1))]), unreadable)
    assert audit.incomplete == ["room attic: its history can't be read: HTTP 500"]
    assert not audit.passed


def test_token_contains_the_count_of_its_sender() -> None:
    ledger = MessageLedger()
    assert [counter(ledger.token()) for _ in range(20)] == list(range(1, 21))
    assert counter("anything else") == 0
