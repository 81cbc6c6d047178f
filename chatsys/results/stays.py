"""The books of a room without sequence numbers: what each member received is compared with what is stored.

Each process numbers a room's messages in the order in which it first sees them. So what one member received over one
connection, a :class:`Visit`, is described by a few numbers, as in the ledger. But another process, or a member that
missed messages, sees a different order. Therefore no message counts as missing before the end of the run. Then the
stored messages are read back, and their order decides.

A visit must have received what was stored after its history, or after the previous visit, until its end. If a visit
ended early, its end is the last message that it received, since later ones may still have been in flight: a message is
expected only if another message of the visit comes after it, both in the store and in the order of first sight. The
memory grows by some 200 bytes for each message.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from chatsys.results.ledger import RECENT, LedgerRoom, MessageLedger, RoomAccount, fingerprint
from chatsys.results.stamps import Stamp, stamp_of


def counter(token: str) -> int:
    """The sender's count in a token of :meth:`MessageLedger.token`; 0 for any other token."""
    try:
        return int(token.rpartition("-")[2], 16)
    except ValueError:
        return 0


class Visit:
    """What arrived over one connection while its user was in the room, by the room's numbers in this process.

    ``history`` has the numbers of the join's history, oldest first, or None if no history arrived. A message may appear
    once in the history and once as a push, in either order. The visit has ``ended`` if the connection has, or the user
    has left.
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
        """Enter a push. Returns False if it was pushed before."""
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
        """Enter the history."""
        self.history = array("I", numbers)
        for number in self.history:
            known = number in self._early if number < self.start else not self._take(number)
            if not known:
                self._shown.add(number)

    def received(self) -> set[int]:
        """The numbers of all messages that arrived as pushes."""
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
    """One member in one room, from its join to its leaving; each reconnect begins another visit."""

    __slots__ = ("room", "visits")

    def __init__(self, room: StayRoom) -> None:
        self.room = room
        self.visits: list[Visit] = []
        room.members.add(self)
        room.stays.append(self)

    def visit(self) -> None:
        """Begin a visit, before the join, because pushes may arrive before the history."""
        self.disconnected()
        self.visits.append(Visit(len(self.room.numbers)))

    def show(self, messages: Iterable[tuple[str, str]]) -> None:
        """Enter the history of a join: (id, text), oldest first."""
        room = self.room
        messages = list(messages)
        if not room.account.since:
            room.account.since = [messages[0][0] if messages else ""]
        self.visits[-1].listed([room.listed(message_id) for message_id, _ in messages])

    def receive(self, _seq: int, message_id: str, text: str) -> Stamp:
        """Enter a push and return its stamp, which is empty for a message of somebody else."""
        stamp = self.room.seen(message_id, text)
        if not self.visits[-1].pushed(stamp.seq):
            self.room.fault("doubled", f"message {message_id}")
        return stamp

    def disconnected(self) -> None:
        """End the current visit: the connection has ended."""
        if self.visits:
            self.visits[-1].ended = True

    def leave(self) -> None:
        """End the stay. Idempotent."""
        self.disconnected()
        self.room.members.discard(self)


class StayRoom(LedgerRoom):
    """A room in this process. ``stored`` are the ids read back at the end, oldest first."""

    __slots__ = ("_by_history", "numbers", "stays", "stored")

    def __init__(self, ledger: MessageLedger, name: str, account: RoomAccount) -> None:
        super().__init__(ledger, name, account)
        self.numbers: dict[str, int] = {}
        self.stays: list[Stay] = []
        self.stored: Sequence[str] | None = None
        self._by_history: set[int] = set()

    def seen(self, message_id: str, text: str) -> Stamp:
        """The stamp of a pushed message; its ``seq`` is the message's number in this process."""
        number = self.numbers.setdefault(message_id, len(self.numbers))
        stamp = self.recent[number % RECENT]
        if stamp is None or stamp.seq != number or stamp.message_id != message_id:
            stamp = self.note(number, message_id, text)
        return stamp

    def listed(self, message_id: str) -> int:
        """The number of a message in a history."""
        number = self.numbers.get(message_id)
        if number is None:
            number = self.numbers[message_id] = len(self.numbers)
            self._by_history.add(number)
        return number

    def read_back(self, stored: Sequence[str]) -> None:
        """Enter the ids stored after the last send, oldest first; members then wait for these messages."""
        self.stored = stored
        for message_id in stored:
            self.listed(message_id)

    def acknowledged(self, text: str, _seq: int, message_id: str) -> None:
        """Enter a message of this process that was confirmed under this id, by its sender's count."""
        stamp = stamp_of(text)
        count = counter(stamp.token) if stamp is not None else 0
        self.account.acknowledged.add(count, fingerprint(text, count, message_id))

    def oldest(self) -> list[str]:
        """The ids down to which the stored messages must be read back (``account.since``); empty if nothing arrived.

        Without any history the result is ``[""]``, which means all of them: the first message seen here need not be the
        first one stored.
        """
        if not self.account.since and self.numbers:
            self.account.since = [""]
        return self.account.since

    def settled(self) -> bool:
        """True once every member here has received every message that this process knows of."""
        visits = (stay.visits[-1] for stay in self.members if stay.visits)
        return all(visit.ended or (visit.next >= len(self.numbers) and not visit.missing) for visit in visits)

    def close(self) -> None:
        """Compare each stay with the stored messages, or, if they can't be read, with those seen by this process."""
        if not self.stays:
            return
        self.account.base = 0
        self.oldest()
        ids = list(self.numbers) if self.stored is None else self.stored
        order = [self.numbers[message_id] for message_id in ids]
        index_of = {number: index for index, number in enumerate(order)}
        for stay in self.stays:
            reached: int | None = None
            for visit in stay.visits:
                reached = self._compare(visit, reached, order, index_of, ids)

    def _compare(
        self, visit: Visit, reached: int | None, order: list[int], index_of: dict[int, int], ids: Sequence[str]
    ) -> int | None:
        """Compare one visit. Returns the index of the last message that its member has, or None."""
        received, shown = visit.received(), visit.history
        if not received and shown is None:
            return reached
        pushed = [index_of[number] for number in received if number in index_of]
        last_shown = max((index_of[number] for number in shown or () if number in index_of), default=-1)
        last = max(pushed, default=-1) if visit.ended else len(order) - 1
        if shown is None:  # without a history, from the first push on
            first = min(pushed, default=last + 1)
        elif reached is None:
            first = last_shown + 1
        else:
            oldest = index_of.get(shown[0], 0) if shown else 0
            self.account.excused += max(0, oldest - reached - 1)
            first = max(oldest, reached + 1)
        listed = set(shown or ())
        newest = max(received | listed, default=-1)
        for index in range(first, max(last, last_shown) + 1):
            number = order[index]
            if number in received or number in listed:
                self.account.replayed += number not in received
            elif visit.ended and number > newest and number not in self._by_history:
                continue
            else:
                self.fault("dropped", f"message {ids[index]}")
            self.account.expected += 1
        return max((-1 if reached is None else reached), last, last_shown)
