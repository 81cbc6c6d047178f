"""The complete record of a short run: what each client did and saw, what was stored at the end, and what is wrong.

The rules of ``ledger`` and ``audit`` judge it, and four more that need the complete record: clients got exactly what is
stored; all acknowledgements of a message agree; a message that was acknowledged before another was sent has the smaller
number; the lists of members name exactly those who are present. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import msgspec

from chatsys.results.audit import DEVIATIONS, AuditedMessage, judged
from chatsys.results.ledger import LedgerMember, MessageLedger

EXAMPLES = 10
KINDS = (*DEVIATIONS, "altered", "answers_differ", "reordered", "ghosts", "absent", "incomplete")
"""Every kind of deviation; those of the audit come first."""


class Sending(msgspec.Struct):
    """One message as its sender knows it. ``sent_at`` is the first attempt; ``answers`` are acknowledged (seq, id)."""

    token: str
    room: str
    text: str
    sent_at: float
    acked_at: float = math.inf
    answers: list[tuple[int, str]] = []


class JoinedEntry(msgspec.Struct, tag="Joined"):
    """A join: the room's newest number, and after a rejoin (``again``) the replay and whether it was ``complete``."""

    last_seq: int
    again: bool = False
    replay: list[AuditedMessage] = []
    complete: bool = True


class Pushed(msgspec.Struct, tag=True):
    """A message arrived."""

    message: AuditedMessage


class Listed(msgspec.Struct, tag=True):
    """A list of members arrived, as user ids."""

    users: list[str]


Entry = JoinedEntry | Pushed | Listed


class ClientDiary(msgspec.Struct):
    """One client in one room: its user id, its diary, and whether it is still ``present`` at the end."""

    user: str
    room: str
    present: bool = True
    diary: list[Entry] = []


class History(msgspec.Struct):
    """A run. For each room, ``stored`` is its history at the end, oldest first, and ``listed`` its lists of members."""

    run: str
    sendings: list[Sending] = []
    clients: list[ClientDiary] = []
    stored: dict[str, list[AuditedMessage]] = {}
    listed: dict[str, list[list[str]]] = {}


class Deviation(msgspec.Struct, frozen=True):
    """One kind of deviation (see ``KINDS``), how often it occurred, and examples."""

    kind: str
    count: int
    examples: list[str]


def findings(history: History) -> list[Deviation]:
    """The deviations of a run; empty if there are none."""
    found = [*_audited(history)]
    rules = {
        "altered": _altered(history),
        "answers_differ": _answers_differ(history),
        "reordered": _reordered(history),
        "ghosts": _ghosts(history),
        "absent": _absent(history),
    }
    for kind, examples in rules.items():
        if seen := list(examples):
            found.append(Deviation(kind, len(seen), seen[:EXAMPLES]))
    return found


def _audited(history: History) -> Iterator[Deviation]:
    """The deviations that the audit of the load tests finds."""
    ledger = MessageLedger(exact=True)
    ledger.open(history.run)
    for sending in history.sendings:
        room = ledger.room(sending.room)
        room.account.sent += 1
        if sending.answers:
            room.acknowledged(sending.text, *sending.answers[0])
        else:
            room.unconfirmed(sending.token)
    for client in history.clients:
        _enter_diary(client, LedgerMember(ledger.room(client.room)))
    result = judged(ledger.close(), lambda room, base: _after(history.stored.get(room, []), base))
    for kind in DEVIATIONS:
        if count := getattr(result.total, kind):
            yield Deviation(kind, count, [example for example in result.examples if _about(kind, example)][:EXAMPLES])
    if result.incomplete:
        yield Deviation("incomplete", len(result.incomplete), result.incomplete[:EXAMPLES])


def _about(kind: str, example: str) -> bool:
    """Whether an example of the audit shows this kind; one example covers both comparisons with the store."""
    return example.startswith("room ") if kind in {"not_stored", "not_acknowledged"} else example.startswith(kind)


def _enter_diary(client: ClientDiary, member: LedgerMember) -> None:
    """Enter the client's diary into the ledger, in the order in which the client saw it."""
    for entry in client.diary:
        if isinstance(entry, Pushed):
            member.receive(entry.message.seq, entry.message.id, entry.message.message)
        elif isinstance(entry, JoinedEntry) and entry.again:
            member.replay([(message.seq, message.id, message.message) for message in entry.replay])
            member.rejoined(entry.complete)
        elif isinstance(entry, JoinedEntry):
            member.begin(entry.last_seq)
    if not client.present:
        member.leave()


def _after(stored: list[AuditedMessage], base: int) -> Iterator[AuditedMessage]:
    return (message for message in reversed(stored) if message.seq > base)


def _altered(history: History) -> Iterator[str]:
    """A client got a message that differs from the stored one with the same number."""
    for client in history.clients:
        stored = {message.seq: message for message in history.stored.get(client.room, [])}
        for entry in client.diary:
            got = (
                [entry.message] if isinstance(entry, Pushed) else entry.replay if isinstance(entry, JoinedEntry) else []
            )
            for message in got:
                if message != stored.get(message.seq):
                    yield f"{client.user} in {client.room} got a message {message.seq} that differs from the stored one"


def _answers_differ(history: History) -> Iterator[str]:
    """One message was acknowledged with two numbers or ids."""
    for sending in history.sendings:
        if len(set(sending.answers)) > 1:
            yield f"message {sending.token} in {sending.room} was acknowledged as {sorted(set(sending.answers))}"


def _reordered(history: History) -> Iterator[str]:
    """A message was acknowledged before another was sent, but has the greater number."""
    known = {sending.text: sending for sending in history.sendings}
    for room, stored in history.stored.items():
        earliest, later = math.inf, 0  # the earliest acknowledgement of the messages with greater numbers
        for message in reversed(stored):
            sending = known.get(message.message)
            if sending is None:
                continue
            if earliest < sending.sent_at:
                yield f"in {room} message {later} was acknowledged before message {message.seq} was sent"
            if sending.acked_at < earliest:
                earliest, later = sending.acked_at, message.seq


def _members(history: History) -> Iterator[tuple[str, Counter[str], Counter[str]]]:
    """Each current list of a room's members: its owner, the users that it names, and the users who are present."""
    present: dict[str, Counter[str]] = {client.room: Counter() for client in history.clients}
    for client in history.clients:
        present[client.room][client.user] += client.present
    for room, lists in history.listed.items():
        for users in lists:
            yield f"a server's list of {room}", Counter(users), +present.get(room, Counter())
    for client in history.clients:
        lists = [entry.users for entry in client.diary if isinstance(entry, Listed)]
        if client.present and lists:
            yield f"the list that {client.user} has of {client.room}", Counter(lists[-1]), +present[client.room]


def _ghosts(history: History) -> Iterator[str]:
    """A list names a user who is not present, or names a user twice."""
    for owner, named, there in _members(history):
        for user in sorted((named - there).elements()):
            yield f"{owner} names {user}, who is not there"


def _absent(history: History) -> Iterator[str]:
    """A list lacks a user who is present."""
    for owner, named, there in _members(history):
        for user in sorted((there - named).elements()):
            yield f"{owner} does not name {user}, who is there"
