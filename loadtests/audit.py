"""The audit: acknowledged = stored = delivered to each member once, in order. One deviation fails the run."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import msgspec

from loadtests.ledger import FAULTS, Account, Books, Windows, fingerprint
from loadtests.rest import Rest, RestError
from loadtests.stamps import stamp_of

_PAGE = 1000


class Stored(msgspec.Struct):
    """A message as the server's history has it."""

    id: str
    seq: int
    message: str


class _Page(msgspec.Struct, rename="camel"):
    data: list[Stored]
    next_offset: int | None = None


class Row(msgspec.Struct):
    """One room's line in the audit's table; the last six columns must be 0."""

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

    @property
    def deviations(self) -> int:
        """The sum of what must be 0."""
        return sum(getattr(self, column) for column in DEVIATIONS)


DEVIATIONS = (*FAULTS, "not_stored", "not_acknowledged")


class Audit(msgspec.Struct):
    """The table, its sum, examples of what is wrong, and why the audit is not complete, if it is not."""

    rows: list[Row]
    total: Row
    examples: list[str]
    incomplete: list[str]

    @property
    def passed(self) -> bool:
        """True if everything was checked and nothing deviates."""
        return not self.incomplete and not self.total.deviations


def history(rest: Rest, room: str, base: int) -> Iterator[Stored]:
    """What the server has stored in a room after ``base``, newest first (contract §6.3). Raises RestError."""
    offset = 0
    while True:
        page = _page(rest, room, _PAGE, offset)
        for message in reversed(page.data):
            if message.seq <= base:
                return
            yield message
        if page.next_offset is None and len(page.data) < _PAGE:
            return
        offset = page.next_offset or offset + _PAGE


def newest(rest: Rest, room: str) -> int:
    """The sequence number of the last message that the server has stored in a room. Raises RestError."""
    return max((message.seq for message in _page(rest, room, 1, 0).data), default=0)


def _page(rest: Rest, room: str, limit: int, offset: int) -> _Page:
    path = f"/api/rooms/{quote(room, safe='')}/messages?limit={limit}&offset={offset}"
    status, content, _ = rest.request("GET", path)
    if status != 200:
        raise RestError(f"GET {path} answered {status}")
    return msgspec.json.decode(content, type=_Page)


def audit(books: Books, rest: Rest) -> Audit:
    """Compare the books of all processes with what the server has stored."""
    rows, incomplete, examples = [], [], list(books.examples)
    for name in sorted(books.rooms):
        account = books.rooms[name]
        if account.base is None:  # nobody ever joined it
            continue
        if account.unconfirmed_lost:
            incomplete.append(f"room {name}: too many messages without acknowledgement to check each")
        try:
            rows.append(_room(books.run, name, account, rest, examples))
        except (RestError, msgspec.DecodeError) as error:
            incomplete.append(f"room {name}: its history can't be read: {error}")
    columns = Row.__struct_fields__[1:]
    total = Row("all rooms", *(sum(getattr(row, column) for row in rows) for column in columns))
    return Audit(rows, total, examples, incomplete)


def _room(run: str, name: str, account: Account, rest: Rest, examples: list[str]) -> Row:
    stored, others, unconfirmed, highest = Windows(), 0, 0, account.base
    unsure, ours = set(account.unconfirmed), 0
    seen_last = None
    for message in history(rest, name, account.base):
        if seen_last is not None and message.seq != seen_last - 1:
            examples.append(f"history: room {name} goes from seq {message.seq} to {seen_last}")
        seen_last = message.seq
        stamp = stamp_of(message.message)
        if stamp is None or stamp.run != run:
            others += 1
        elif stamp.token in unsure:
            unconfirmed += 1
            continue  # the newest of them may have been stored when nobody listened any more
        else:
            ours += 1
            stored.add(message.seq, fingerprint(stamp.token, message.seq, message.id))
        highest = max(highest, message.seq)
    tail = max(0, account.waiting * (max(highest, account.newest) + 1) - account.next_sum)
    if tail:
        examples.append(f"dropped: room {name}, {tail} deliveries at the end never came")
    not_stored, not_acknowledged = _compare(account.acknowledged, stored, name, examples)
    expected = account.expected + tail
    dropped = account.dropped + tail
    return Row(
        room=name,
        sent=account.sent,
        acknowledged=account.acked,
        stored=ours + unconfirmed,
        expected=expected,
        delivered=expected - dropped,
        replayed=account.replayed,
        unconfirmed=len(account.unconfirmed),
        others=others,
        dropped=dropped,
        doubled=account.doubled,
        swapped=account.swapped,
        renumbered=account.renumbered,
        not_stored=not_stored,
        not_acknowledged=not_acknowledged,
    )


def _compare(acknowledged: Windows, stored: Windows, room: str, examples: list[str]) -> tuple[int, int]:
    """How many acknowledged messages are not stored, and stored ones not acknowledged, at least."""
    width = max(acknowledged.width, stored.width)
    acknowledged.widen(width)
    stored.widen(width)
    not_stored = not_acknowledged = 0
    for window in sorted(acknowledged.sums.keys() | stored.sums.keys()):
        ours, theirs = acknowledged.sums.get(window, (0, 0)), stored.sums.get(window, (0, 0))
        if ours == theirs:
            continue
        first = window * width
        examples.append(f"room {room}, seq {first} to {first + width - 1}: acknowledged {ours[0]}, stored {theirs[0]}")
        if ours[0] == theirs[0]:  # as many, but not the same ones
            not_stored, not_acknowledged = not_stored + 1, not_acknowledged + 1
        not_stored += max(0, ours[0] - theirs[0])
        not_acknowledged += max(0, theirs[0] - ours[0])
    return not_stored, not_acknowledged
