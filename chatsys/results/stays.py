"""The books of a room whose messages have no numbers: what each member got is compared with what is stored.

Each process numbers a room's messages by the order in which it first sees them. What came to one member over one
connection, a :class:`Visit`, is therefore a few numbers, as in the ledger. But another process, and a member that was
left out, see another order, so nothing is missing until the end: then the stored messages are read back, and their
order is the one that counts.

A visit is owed what is stored after the history that it was shown, or after the visit before, until its end. Of a visit
that ended, the end is the last message that came; what may have been on its way then is not owed: it must come before
another message of the visit both in the store and in the order of first sight. The memory grows with the number of
messages, by some 200 bytes for each.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from chatsys.results.ledger import RECENT, LedgerRoom, MessageLedger, RoomAccount, fingerprint
from chatsys.results.stamps import Stamp, stamp_of


def counter(token: str) -> int:
    """The sender's count in a token of :meth:`Ledger.token`; 0 in any other."""
    try:
        return int(token.rpartition("-")[2], 16)
    except ValueError:
        return 0


class Visit:
    """What came over one connection while its user was in the room, by the room's numbers in this process.

    ``history`` are the numbers of what the join has shown, oldest first, or None if nothing was shown. A message may
    appear once in the history and once as a push, in either order.
    """

    __slots__ = ("_early", "_shown", "ended", "history", "missing", "next", "start")

    def __init__(self, start: int) -> None:
        self.start = self.next = start
        self.missing: set[int] = set()
        self.history: array[int] | None = None
        self.ended = False
        self._early: set[int] = set()
        self._shown: set[int] = set()

    def pushed(self, number: int) -> bool:
        """A push has come; False if it has come before."""
        if number in self._shown:
            self._shown.discard(number)
            if number < self.start:
                self._early.add(number)
            return True
        if number < self.start:
            new = number not in self._early
            self._early.add(number)
            return new
        return self._take(number)

    def listed(self, numbers: Iterable[int]) -> None:
        """The history has come."""
        self.history = array("I", numbers)
        for number in self.history:
            known = number in self._early if number < self.start else not self._take(number)
            if not known:
                self._shown.add(number)

    def end(self) -> None:
        """The connection has ended, or its user has left."""
        self.ended = True

    def came(self) -> set[int]:
        """The numbers of all that came as pushes."""
        return (self._early | set(range(self.start, self.next))) - self.missing - self._shown

    def _take(self, number: int) -> bool:
        if number >= self.next:
            self.missing.update(range(self.next, number))
            self.next = number + 1
            return True
        new = number in self.missing
        self.missing.discard(number)
        return new


class Stay:
    """One member in one room, from its join to its leaving; each reconnect in between begins another visit."""

    __slots__ = ("room", "visits")

    def __init__(self, room: StayRoom) -> None:
        self.room = room
        self.visits: list[Visit] = []
        room.members.add(self)
        room.stays.append(self)

    def visit(self) -> None:
        """The member is about to join: pushes may come before the history."""
        self.disconnected()
        self.visits.append(Visit(len(self.room.numbers)))

    def show(self, messages: Iterable[tuple[str, str]]) -> None:
        """The history of a join: (id, text), oldest first."""
        room = self.room
        messages = list(messages)
        if not room.account.since:
            room.account.since = [messages[0][0] if messages else ""]
        self.visits[-1].listed([room.listed(message_id) for message_id, _ in messages])

    def receive(self, _seq: int, message_id: str, text: str) -> Stamp:
        """A push has come; its stamp (an empty one for another's message)."""
        stamp = self.room.seen(message_id, text)
        if not self.visits[-1].pushed(stamp.seq):
            self.room.fault("doubled", f"message {message_id}")
        return stamp

    def disconnected(self) -> None:
        """The connection has ended."""
        if self.visits:
            self.visits[-1].end()

    def leave(self) -> None:
        """The stay ends here. Idempotent."""
        self.disconnected()
        self.room.members.discard(self)


class StayRoom(LedgerRoom):
    """A room as this process sees it. ``stored`` is what is read back at the end: ids, oldest first."""

    __slots__ = ("_by_history", "numbers", "stays", "stored")

    def __init__(self, ledger: MessageLedger, name: str, account: RoomAccount) -> None:
        super().__init__(ledger, name, account)
        self.numbers: dict[str, int] = {}
        self.stays: list[Stay] = []
        self.stored: Sequence[str] | None = None
        self._by_history: set[int] = set()

    def seen(self, message_id: str, text: str) -> Stamp:
        """The stamp of a message that was pushed; its ``seq`` is its number here."""
        number = self.numbers.get(message_id)
        if number is None:
            number = self.numbers[message_id] = len(self.numbers)
        stamp = self.recent[number % RECENT]
        if stamp is None or stamp.seq != number or stamp.message_id != message_id:
            stamp = stamp_of(text) or Stamp("", "", "", 0, 0)
            stamp.seq, stamp.message_id = number, message_id
            self.recent[number % RECENT] = stamp
        return stamp

    def listed(self, message_id: str) -> int:
        """The number of a message in a history."""
        number = self.numbers.get(message_id)
        if number is None:
            number = self.numbers[message_id] = len(self.numbers)
            self._by_history.add(number)
        return number

    def read_back(self, stored: Sequence[str]) -> None:
        """What is stored when nobody sends any more: ids, oldest first. Members wait for it."""
        self.stored = stored
        for message_id in stored:
            self.listed(message_id)

    def acknowledged(self, text: str, _seq: int, message_id: str) -> None:
        """A message of ours is confirmed under this id: it is entered by its sender's count."""
        stamp = stamp_of(text)
        count = counter(stamp.token) if stamp is not None else 0
        self.account.acknowledged.add(count, fingerprint(text, count, message_id))

    def oldest(self) -> list[str]:
        """The message to which what is stored has to be read back, as ``account.since``; none if nothing ever came.

        Without histories that is all: what was seen first here need not be stored first.
        """
        if not self.account.since and self.numbers:
            self.account.since = [""]
        return self.account.since

    def settled(self) -> bool:
        """True once every member here has everything that this process knows to exist."""
        visits = (stay.visits[-1] for stay in self.members if stay.visits)
        return all(visit.ended or (visit.next >= len(self.numbers) and not visit.missing) for visit in visits)

    def close(self) -> None:
        """Compare each stay with what is stored; where that can't be read, with what this process has seen."""
        if not self.stays:
            return
        self.account.base = 0
        self.oldest()
        ids = list(self.numbers) if self.stored is None else self.stored
        order = [self.numbers[message_id] for message_id in ids]
        place = {number: index for index, number in enumerate(order)}
        for stay in self.stays:
            reached: int | None = None
            for visit in stay.visits:
                reached = self._compare(visit, reached, order, place, ids)

    def _compare(
        self, visit: Visit, reached: int | None, order: list[int], place: dict[int, int], ids: Sequence[str]
    ) -> int | None:
        """Enter what a visit was owed; the place of the last message that its member has, None for none."""
        came, shown = visit.came(), visit.history
        if not came and shown is None:
            return reached
        pushed = [place[number] for number in came if number in place]
        last_shown = max((place[number] for number in shown or () if number in place), default=-1)
        last = max(pushed, default=-1) if visit.ended else len(order) - 1
        if shown is None:  # without a history, from the first push on
            first = min(pushed, default=last + 1)
        elif reached is None:
            first = last_shown + 1
        else:
            oldest = place.get(shown[0], 0) if shown else 0
            self.account.excused += max(0, oldest - reached - 1)
            first = max(oldest, reached + 1)
        listed = set(shown or ())
        newest = max(came | listed, default=-1)
        for index in range(first, max(last, last_shown) + 1):
            number = order[index]
            if number in came or number in listed:
                self.account.replayed += number not in came
            elif visit.ended and number > newest and number not in self._by_history:
                continue
            else:
                self.fault("dropped", f"message {ids[index]}")
            self.account.expected += 1
        return max((-1 if reached is None else reached), last, last_shown)
