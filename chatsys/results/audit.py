"""The audit: acknowledged = stored = delivered to each member once, in order. One deviation fails the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec

from chatsys.results.ledger import FAULTS, Books, RoomAccount, Windows, fingerprint
from chatsys.results.stamps import stamp_of
from chatsys.results.stays import counter

_PAGE = 1000
NUMBERED = "acknowledged = stored = delivered to each member once, in order"
UNNUMBERED = "confirmed = stored = delivered to each member once (nothing is numbered: order and gaps are not judged)"
UNREAD = "delivered to each member once (what is stored can't be read back, and order is not judged)"

Read = Callable[[str], bytes]
"""Requests a path of the server's REST interface and returns the body. Raises Unreadable unless the status is 200."""


class Unreadable(Exception):
    """The stored messages can't be read; the text is the cause."""


class AuditedMessage(msgspec.Struct):
    """A message in the server's history."""

    id: str
    seq: int
    message: str


class Kept(msgspec.Struct):
    """A message in the history of a server without sequence numbers."""

    id: str
    message: str


Message = TypeVar("Message", AuditedMessage, Kept)


class _Page(msgspec.Struct, Generic[Message], rename="camel"):
    data: list[Message]
    next_offset: int | None = None


class AuditRow(msgspec.Struct):
    """One room's line in the audit's table; the last eight columns must be 0.

    ``dropped``, ``doubled`` and ``swapped`` count deliveries to one member. ``renumbered`` counts sequence numbers that
    two messages had. ``stored_twice`` counts messages that were sent again with the same id and stored again. ``gaps``
    counts sequence numbers that no stored message has.
    """

    room: str
    sent: int
    acknowledged: int
    stored: int
    expected: int
    delivered: int
    replayed: int
    unconfirmed: int
    others: int
    dropped: int
    doubled: int
    swapped: int
    renumbered: int
    not_stored: int
    not_acknowledged: int
    stored_twice: int = 0
    gaps: int = 0

    @property
    def deviations(self) -> int:
        """The sum of the columns that must be 0."""
        return sum(getattr(self, column) for column in DEVIATIONS)


DEVIATIONS = (*FAULTS, "not_stored", "not_acknowledged", "stored_twice", "gaps")


class Audit(msgspec.Struct):
    """The table, its sum, and examples of deviations. ``rule`` says what was compared.

    ``incomplete`` lists what could not be checked, and why.
    """

    rows: list[AuditRow]
    total: AuditRow
    examples: list[str]
    incomplete: list[str]
    rule: str = NUMBERED

    @property
    def passed(self) -> bool:
        """True if everything was checked and nothing deviates."""
        return not self.incomplete and not self.total.deviations


def history(read: Read, room: str, base: int) -> Iterator[AuditedMessage]:
    """The stored messages of a room after ``base``, newest first (contract §6.3). Raises Unreadable."""
    return takewhile(lambda message: message.seq > base, newest_first(read, room, AuditedMessage))


def newest_first(read: Read, room: str, kind: type[Message]) -> Iterator[Message]:
    """All stored messages of a room, newest first, page by page (contract §6.3). Raises Unreadable."""
    offset = 0
    while True:
        page = _page(read, room, _PAGE, offset, kind)
        yield from reversed(page.data)
        if page.next_offset is None and len(page.data) < _PAGE:
            return
        offset = page.next_offset or offset + _PAGE


def back_to(messages: Iterable[Kept], ids: Iterable[str]) -> Iterator[Kept]:
    """The messages (newest first) up to the last of ``ids``; all if one id is ``""``, none if there are no ids."""
    wanted = set(ids)
    if not wanted:
        return
    for message in messages:
        yield message
        wanted.discard(message.id)
        if not wanted:
            return


def newest(read: Read, room: str) -> int:
    """The sequence number of the newest stored message of a room. Raises Unreadable."""
    return max((message.seq for message in _page(read, room, 1, 0, AuditedMessage).data), default=0)


def _page(read: Read, room: str, limit: int, offset: int, kind: type[Message]) -> _Page[Message]:
    content = read(f"/api/rooms/{quote(room, safe='')}/messages?limit={limit}&offset={offset}")
    try:
        page: _Page[Message] = msgspec.json.decode(content, type=_Page[kind])  # type: ignore[valid-type]
    except msgspec.DecodeError as error:
        raise Unreadable(str(error)) from error
    return page


def judged(books: Books, stored: Callable[[str, int], Iterable[AuditedMessage]]) -> Audit:
    """Compare the books of all processes with the server's history.

    ``stored(room, base)`` returns a room's messages after ``base``, newest first. It may raise Unreadable.
    """
    return _all_rooms(
        books,
        NUMBERED,
        lambda name, account, examples: _room(books.run, name, account, stored(name, account.base or 0), examples),
    )


def judged_by_stays(books: Books, stored: Callable[[str], Iterable[Kept]] | None) -> Audit:
    """The same for messages without numbers; each process has already compared their deliveries (``results.stays``).

    ``stored(room)`` returns what the server has stored, newest first, and reads it lazily. It may raise Unreadable. If
    it is None, confirmed messages are not compared.
    """

    def room(name: str, account: RoomAccount, examples: list[str]) -> AuditRow:
        messages = None if stored is None else back_to(stored(name), account.since)
        return _unnumbered(books.run, name, account, messages, examples)

    return _all_rooms(books, UNREAD if stored is None else UNNUMBERED, room)


def _all_rooms(books: Books, rule: str, judge: Callable[[str, RoomAccount, list[str]], AuditRow]) -> Audit:
    rows, incomplete, examples = [], list(books.incomplete), list(books.examples)
    for name in sorted(books.rooms):
        account = books.rooms[name]
        if account.base is None:  # no member ever joined it
            continue
        if account.unconfirmed_lost:
            incomplete.append(f"room {name}: too many unacknowledged messages to check each")
        try:
            rows.append(judge(name, account, examples))
        except Unreadable as error:
            incomplete.append(f"room {name}: its history can't be read: {error}")
    columns = AuditRow.__struct_fields__[1:]
    total = AuditRow("all rooms", *(sum(getattr(row, column) for row in rows) for column in columns))
    return Audit(rows, total, examples, incomplete, rule)


def _row(name: str, account: RoomAccount, *, lost: int = 0, **found: int) -> AuditRow:
    """The room's line: its books, what the comparison ``found``, and deliveries ``lost`` that are not in its books."""
    copied = ("sent", "replayed", "doubled", "swapped", "renumbered")
    return AuditRow(
        room=name,
        acknowledged=account.acked,
        expected=account.expected + lost,
        delivered=account.expected - account.dropped,
        dropped=account.dropped + lost,
        unconfirmed=len(account.unconfirmed),
        **{column: getattr(account, column) for column in copied},
        **found,
    )


def _unnumbered(
    run: str, name: str, account: RoomAccount, messages: Iterable[Kept] | None, examples: list[str]
) -> AuditRow:
    stored = Windows(account.acknowledged.width, most=account.acknowledged.most)
    unconfirmed = set(account.unconfirmed)
    seen: set[str] = set()
    ours = others = twice = 0
    for message in messages or ():
        stamp = stamp_of(message.message)
        if stamp is None or stamp.run != run:
            others += 1
            continue
        ours += 1
        if stamp.token in seen:
            twice += 1
            examples.append(f"stored_twice: room {name}, message {stamp.token}")
        elif stamp.token not in unconfirmed:
            count = counter(stamp.token)
            stored.add(count, fingerprint(message.message, count, message.id))
        seen.add(stamp.token)
    compared = {"not_stored": 0, "not_acknowledged": 0}
    if messages is not None:
        compared = _compare(account.acknowledged, stored, name, examples, "sender's count")
    return _row(name, account, stored=ours, others=others, stored_twice=twice, **compared)


def _room(
    run: str, name: str, account: RoomAccount, messages: Iterable[AuditedMessage], examples: list[str]
) -> AuditRow:
    stored = Windows(account.acknowledged.width, most=account.acknowledged.most)
    others = ours = gaps = 0
    highest = base = account.base or 0
    unconfirmed: Counter[str] = Counter(dict.fromkeys(account.unconfirmed, 0))
    later: int | None = None
    for message in messages:
        if later is not None and message.seq != later - 1:
            gaps += abs(later - 1 - message.seq)
            examples.append(f"gaps: room {name} goes from seq {message.seq} to {later}")
        later = message.seq
        stamp = stamp_of(message.message)
        if stamp is None or stamp.run != run:
            others += 1
        elif stamp.token in unconfirmed:
            unconfirmed[stamp.token] += 1
            continue  # do not raise ``highest``: the newest may have been stored after the members left
        else:
            ours += 1
            stored.add(message.seq, fingerprint(message.message, message.seq, message.id))
        highest = max(highest, message.seq)
    if later is not None and later != base + 1:
        gaps += later - base - 1
        examples.append(f"gaps: room {name} goes from seq {base} to {later}")
    tail = max(0, account.waiting * (max(highest, account.newest) + 1) - account.next_sum)
    if tail:
        examples.append(f"dropped: room {name}, {tail} deliveries at the end never came")
    compared = _compare(account.acknowledged, stored, name, examples)
    twice = {token: count - 1 for token, count in unconfirmed.items() if count > 1}
    examples += [f"stored_twice: room {name}, message {token}" for token in twice]
    compared |= {"stored_twice": sum(twice.values()), "gaps": gaps}
    return _row(name, account, lost=tail, stored=ours + unconfirmed.total(), others=others, **compared)


def _compare(
    acknowledged: Windows, stored: Windows, room: str, examples: list[str], number: str = "seq"
) -> dict[str, int]:
    """Lower bounds: how many acknowledged messages are not stored, and how many stored ones not acknowledged."""
    width = max(acknowledged.width, stored.width)
    acknowledged.widen(width)
    stored.widen(width)
    not_stored = not_acknowledged = 0
    for window in sorted(acknowledged.sums.keys() | stored.sums.keys()):
        promised, found = acknowledged.sums.get(window, (0, 0)), stored.sums.get(window, (0, 0))
        if promised == found:
            continue
        first = window * width
        which = f"{number} {first}" if width == 1 else f"{number} {first} to {first + width - 1}"
        examples.append(f"room {room}, {which}: acknowledged {promised[0]}, stored {found[0]}")
        if promised[0] == found[0]:  # as many, but not the same messages
            not_stored, not_acknowledged = not_stored + 1, not_acknowledged + 1
        not_stored += max(0, promised[0] - found[0])
        not_acknowledged += max(0, found[0] - promised[0])
    return {"not_stored": not_stored, "not_acknowledged": not_acknowledged}
