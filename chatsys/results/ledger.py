"""The ledger: every message sent, acknowledged and received, by room and ``seq``, in constant memory.

A room's messages are numbered without gaps (contract §14.2). So what one member received is described by the next
``seq`` that it waits for and the few that are missing below it. Acknowledged messages are kept as a count and a sum of
hashes for each window of ``seq``; windows double their width when there are too many. Both are additive, so a master
can merge the books of its workers.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from typing import Any

import msgspec

from chatsys.results.stamps import Stamp, stamp_of

RECENT = 64
WINDOWS = 64
FIRST_WIDTH = 64
EXAMPLES = 20
UNCONFIRMED_KEPT = 10_000
FAULTS = ("dropped", "doubled", "swapped", "renumbered")


def fingerprint(text: str, seq: int, message_id: str) -> int:
    """A 64-bit hash of a stored message: its text including the stamp, its number and its id."""
    return int.from_bytes(hashlib.blake2b(f"{seq} {message_id} {text}".encode(), digest_size=8).digest(), "big")


class Windows(msgspec.Struct):
    """For each window of ``width`` sequence numbers: how many messages, and the sum of their fingerprints (mod 2**64).

    If there are more than ``most`` windows, neighbours are merged. With a width of 1 each message has its own window.
    """

    width: int = FIRST_WIDTH
    sums: dict[int, tuple[int, int]] = {}
    most: int = WINDOWS

    def add(self, seq: int, digest: int, count: int = 1) -> None:
        """Enter one message with its fingerprint, or remove it with ``count=-1``."""
        window = seq // self.width
        known, total = self.sums.get(window, (0, 0))
        self.sums[window] = (known + count, (total + count * digest) % 2**64)
        while len(self.sums) > self.most:
            self.widen(self.width * 2)

    def widen(self, width: int) -> None:
        """Make each window span ``width`` numbers, a multiple of the current width."""
        factor, sums = width // self.width, self.sums
        self.width, self.sums = width, {}
        for window, (count, total) in sums.items():
            known, so_far = self.sums.get(window // factor, (0, 0))
            self.sums[window // factor] = (known + count, (so_far + total) % 2**64)

    def merge(self, other: Windows) -> None:
        """Add the counts of ``other``, which is widened if it is narrower."""
        width = max(self.width, other.width)
        self.widen(width)
        other.widen(width)
        for window, (count, total) in other.sums.items():
            known, so_far = self.sums.get(window, (0, 0))
            self.sums[window] = (known + count, (so_far + total) % 2**64)
        while len(self.sums) > self.most:
            self.widen(self.width * 2)


class RoomAccount(msgspec.Struct):
    """One room's books, in one process or merged.

    ``expected`` counts the deliveries up to the last message that each member got. ``waiting`` members are still in the
    room, and ``next_sum`` is the sum of the numbers that they wait for. ``base`` is the newest ``seq`` at the first
    join. ``excused`` counts messages that a rejoin was allowed to miss. If messages have no numbers
    (``chatsys.results.stays``), ``since`` has one id for each process: the oldest message of its first history, or
    ``""`` if that was empty.
    """

    base: int | None = None
    since: list[str] = []
    newest: int = 0
    sent: int = 0
    refused: int = 0
    acknowledged: Windows = msgspec.field(default_factory=Windows)
    unconfirmed: list[str] = []
    unconfirmed_lost: int = 0
    expected: int = 0
    replayed: int = 0
    excused: int = 0
    dropped: int = 0
    doubled: int = 0
    swapped: int = 0
    renumbered: int = 0
    waiting: int = 0
    next_sum: int = 0

    def merge(self, other: RoomAccount) -> None:
        """Add another process's books of the same room."""
        self.base = min((base for base in (self.base, other.base) if base is not None), default=None)
        self.since = self.since + other.since
        self.newest = max(self.newest, other.newest)
        self.acknowledged.merge(other.acknowledged)
        self.unconfirmed = self.unconfirmed + other.unconfirmed
        for name in (
            *FAULTS, "sent", "refused", "unconfirmed_lost", "expected", "replayed", "excused", "waiting", "next_sum",
        ):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def acked(self) -> int:
        """How many messages were acknowledged."""
        return sum(count for count, _ in self.acknowledged.sums.values())


class Books(msgspec.Struct):
    """The books of one process or of several merged; a worker sends them to its master.

    ``incomplete`` lists what a process could not compare, and why.
    """

    run: str
    rooms: dict[str, RoomAccount] = {}
    examples: list[str] = []
    incomplete: list[str] = []

    def merge(self, other: Books) -> None:
        """Add another process's books."""
        for name, account in other.rooms.items():
            self.rooms.setdefault(name, RoomAccount()).merge(account)
        self.examples = (self.examples + other.examples)[:EXAMPLES]
        self.incomplete = self.incomplete + other.incomplete


class LedgerRoom:
    """A room in this process: its books, its members here, and its most recent messages."""

    __slots__ = ("account", "ledger", "members", "name", "recent")

    def __init__(self, ledger: MessageLedger, name: str, account: RoomAccount) -> None:
        self.ledger = ledger
        self.name = name
        self.account = account
        self.members: set[Any] = set()
        self.recent: list[Stamp | None] = [None] * RECENT

    def note(self, seq: int, message_id: str, text: str) -> Stamp:
        """Record a message that this process sees for the first time, and return its stamp."""
        stamp = stamp_of(text) or Stamp("", "", "", 0, 0)
        stamp.seq, stamp.message_id = seq, message_id
        self.recent[seq % RECENT] = stamp
        self.account.newest = max(self.account.newest, seq)
        return stamp

    def fault(self, kind: str, which: str) -> None:
        """Enter one deviation; ``which`` names the message."""
        setattr(self.account, kind, getattr(self.account, kind) + 1)
        examples, example = self.ledger.examples, f"{kind}: room {self.name}, {which}"
        if len(examples) < EXAMPLES and example not in examples:
            examples.append(example)

    def acknowledged(self, text: str, seq: int, message_id: str) -> None:
        """Enter a message of this process that the server has acknowledged."""
        account = self.account
        account.newest = max(account.newest, seq)
        account.acknowledged.add(seq, fingerprint(text, seq, message_id))
        known = self.recent[seq % RECENT]
        if known is not None and known.seq == seq and known.message_id != message_id:
            self.fault("renumbered", f"seq {seq}")

    def unconfirmed(self, token: str) -> None:
        """Enter a message without acknowledgement: it may or may not be stored."""
        if len(self.account.unconfirmed) < UNCONFIRMED_KEPT:
            self.account.unconfirmed.append(token)
        else:
            self.account.unconfirmed_lost += 1

    def settled(self) -> bool:
        """True once every member here has received every message that this process knows of."""
        return all(member.next > self.account.newest and not member.missing for member in self.members)

    def close(self) -> None:
        """Settle the stays of the remaining members; they count as ``waiting``."""
        for member in list(self.members):
            self.account.waiting += 1
            self.account.next_sum += member.next
            member.leave()


class LedgerMember:
    """One recipient in one room, from its join to its leaving, including reconnects with replay in between."""

    __slots__ = ("missing", "next", "room", "skipped", "start")

    def __init__(self, room: LedgerRoom) -> None:
        self.room = room
        self.start = 0
        self.next = 0
        self.missing: set[int] = set()
        self.skipped: range | None = None
        room.members.add(self)

    def begin(self, last_seq: int) -> None:
        """The member has joined and seen the history up to ``last_seq``."""
        self.start = self.next = last_seq + 1
        account = self.room.account
        account.base = last_seq if account.base is None else min(account.base, last_seq)
        account.newest = max(account.newest, last_seq)

    def receive(self, seq: int, message_id: str, text: str) -> Stamp:
        """Enter a push and return its stamp, which is empty for a message of somebody else."""
        room = self.room
        stamp = room.recent[seq % RECENT]
        if stamp is None or stamp.seq != seq:
            stamp = room.note(seq, message_id, text)
        elif stamp.message_id != message_id:
            room.fault("renumbered", f"seq {seq}")
        if seq == self.next:
            self.next = seq + 1
        else:
            self._out_of_order(seq)
        return stamp

    def _out_of_order(self, seq: int) -> None:
        if seq > self.next:
            self.missing.update(range(self.next, seq))
            self.next = seq + 1
        elif seq in self.missing:
            self.missing.discard(seq)
            self.room.fault("swapped", f"seq {seq}")
        else:
            self.room.fault("doubled", f"seq {seq}")

    def replay(self, messages: list[tuple[int, str, str]]) -> None:
        """Enter the replay after a reconnect: (seq, id, text), oldest first. :meth:`rejoined` judges the gap before."""
        if messages and messages[0][0] > self.next:
            self.skipped = range(self.next, messages[0][0])
            self.next = messages[0][0]
        for seq, message_id, text in messages:
            self.receive(seq, message_id, text)
        self.room.account.replayed += len(messages)

    def rejoined(self, complete: bool) -> None:
        """Enter whether the server called the replay complete. If not, the gap before it is excused."""
        if self.skipped is None:
            return
        if complete:
            self.missing.update(self.skipped)
        else:
            self.room.account.excused += len(self.skipped)
        self.skipped = None

    def disconnected(self) -> None:
        """Do nothing: after a reconnect the client requests the missed messages by number."""

    def leave(self) -> None:
        """End the stay: messages that are still missing were dropped. Idempotent."""
        if self in self.room.members:
            self.room.members.discard(self)
            self.room.account.expected += self.next - self.start
            for seq in sorted(self.missing):
                self.room.fault("dropped", f"seq {seq}")
            self.missing = set()


class MessageLedger:
    """The books of this process. With ``exact`` each message has its own window, so the memory grows with messages."""

    def __init__(self, *, exact: bool = False) -> None:
        self._exact = exact
        self.open("")

    def open(self, run: str, kind: type[LedgerRoom] = LedgerRoom) -> None:
        """Begin a run with empty books. All its processes share the name ``run``, and all rooms are of one ``kind``."""
        self.run = run
        self.rooms: dict[str, LedgerRoom] = {}
        self.examples: list[str] = []
        self.incomplete: list[str] = []
        self._kind = kind
        self._prefix = f"{os.getpid():x}{secrets.token_hex(2)}"
        self._tokens = 0

    def room(self, name: str) -> LedgerRoom:
        """The room of that name, created on first use."""
        if name not in self.rooms:
            windows = Windows(1, most=sys.maxsize) if self._exact else Windows()
            self.rooms[name] = self._kind(self, name, RoomAccount(acknowledged=windows))
        return self.rooms[name]

    def token(self) -> str:
        """A new token, unique in the run: a prefix of this process, a dash, and a count in hexadecimal."""
        self._tokens += 1
        return f"{self._prefix}-{self._tokens:x}"

    def settled(self) -> bool:
        """True once every member here has received every message that this process knows of."""
        return all(room.settled() for room in self.rooms.values())

    def deviations(self) -> int:
        """The number of faults so far, without those that only the audit can find."""
        return sum(getattr(room.account, fault) for room in self.rooms.values() for fault in FAULTS)

    def close(self) -> Books:
        """Settle all stays and return the books."""
        for room in self.rooms.values():
            room.close()
        accounts = {name: room.account for name, room in self.rooms.items()}
        return Books(self.run, accounts, self.examples, self.incomplete)
