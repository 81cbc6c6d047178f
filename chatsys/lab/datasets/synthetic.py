"""Users, messages and receipts as a pure function of sizes and seed: both stores are filled with the same rows.

The sizes of rooms differ widely: the share of room k is proportional to 1/(k+1). One user has read each message, and
ten users each of the newest 200 messages of a room, as in an active chat. Names consist of syllables, so a search text
of six letters matches about one user at any number of users: only the search grows with the size, not its result. With
100 messages or more, a room has a whole page with the same number of receipts at any size.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from chatsys.lab.workloads.operation import PAGE
from chatsys.model.rules import default_avatar
from chatsys.model.values import NewMessage, Participant, User

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FRESH = 200  # the newest messages of a room, which READERS users have read
READERS = 10
MARKED = 1_000  # messages of a room that are marked as read, each by one user after another
_PER_ROOM = 5_000
_ONE_ROOM = 200  # up to this number of messages there is one room, so that it has a whole page
_SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwxyz" for vowel in "aeiou"]
_WORDS = [
    "the", "plan", "for", "today", "is", "ready", "please", "look", "when", "you",
    "have", "time", "and", "tell", "me", "what", "you", "think", "about", "it",
]  # fmt: skip
_MASK = (1 << 64) - 1
_HASH = "$2b$10$abcdefghijklmnopqrstuuJ4Tn9v3hVmVnLr7mJk2o1D0q3s5t7u9"  # has the form of a bcrypt hash; nobody logs in


class Synthetic:
    """``users`` accounts and ``messages`` messages with receipts. Index i always means the same row.

    Raise ``VERSION`` when the rows of given sizes and seed change, so that templates with old rows are replaced.
    """

    VERSION = 3

    def __init__(self, users: int, messages: int, seed: int) -> None:
        self.users = users
        self.messages = messages
        self.seed = seed
        generator = np.random.default_rng(seed)
        rooms = max(2, messages // _PER_ROOM) if messages > _ONE_ROOM else 1
        self.rooms = [f"lab-{number}" for number in range(rooms)]
        weights = 1 / np.arange(1, len(self.rooms) + 1)
        self._room = generator.choice(len(self.rooms), size=messages, p=weights / weights.sum())
        self._sender = generator.integers(0, users, size=messages)
        self.room_sizes = np.bincount(self._room, minlength=len(self.rooms))
        order = np.argsort(self._room, kind="stable")
        starts = np.cumsum(self.room_sizes) - self.room_sizes
        self._seq = np.empty(messages, dtype=np.int64)
        self._seq[order] = np.arange(messages) - np.repeat(starts, self.room_sizes) + 1

    def user_id(self, index: int) -> str:
        """The id of user ``index``: a UUID of version 7 with the time at which the user was created."""
        return _uuid(self.seed, 1, index)

    def name(self, index: int) -> str:
        """Eight letters, four syllables. Unlike the username, a name is not unique."""
        bits = _mixed(self.seed, 2, index)
        return "".join(_SYLLABLES[(bits >> shift) % 100] for shift in (0, 16, 32, 48))

    def username(self, index: int) -> str:
        """A unique username that begins with the name."""
        return f"{self.name(index)}_{index:x}"

    def search_text(self, index: int) -> str:
        """Six letters from the username of user ``index``, which hardly any other user has."""
        return self.name(index)[:6]

    def user(self, index: int) -> User:
        """Account ``index``."""
        name, username = self.name(index), self.username(index)
        return User(
            user_id=self.user_id(index),
            username=username,
            email=f"{username}@example.org",
            password_hash=_HASH,
            display_name=f"{name[:4].title()} {name[4:].title()}",
            avatar=default_avatar(username),
            bio="",
            online=False,
            last_seen=None,
            created_at=EPOCH + timedelta(milliseconds=index),
            last_login=None,
        )

    def participant(self, index: int) -> Participant:
        """Account ``index`` as it appears in a room."""
        user = self.user(index)
        return Participant(
            user_id=user.user_id, username=user.username, display_name=user.display_name, avatar=user.avatar
        )

    def message_id(self, index: int) -> str:
        """The id of message ``index``."""
        return _uuid(self.seed, 3, index)

    def message(self, index: int, who: Participant | None = None) -> NewMessage:
        """Message ``index``. ``who`` is its sender, if the caller already has the object."""
        return NewMessage(
            message_id=self.message_id(index),
            room=self.rooms[self._room[index]],
            who=who or self.participant(self.sender(index)),
            text=self.text(index),
            at=self.at(index),
        )

    def text(self, index: int) -> str:
        """Twelve words and the index: about 55 characters."""
        bits = _mixed(self.seed, 4, index)
        return " ".join([*(_WORDS[(bits >> shift) % len(_WORDS)] for shift in range(0, 60, 5)), str(index)])

    def at(self, index: int) -> datetime:
        """When message ``index`` was sent."""
        return EPOCH + timedelta(milliseconds=index)

    def sender(self, index: int) -> int:
        """The index of the user who sent message ``index``."""
        return int(self._sender[index])

    def seq(self, index: int) -> int:
        """The sequence number of message ``index`` in its room."""
        return int(self._seq[index])

    def room_id(self, number: int) -> str:
        """The id of room ``number`` in a database."""
        return _uuid(self.seed, 5, number)

    @property
    def marked_rooms(self) -> tuple[int, int]:
        """The rooms in which stores and baselines mark messages as read: one each, so that no pair occurs twice."""
        return 1 % len(self.rooms), 2 % len(self.rooms)

    @property
    def read_rooms(self) -> list[int]:
        """Large rooms whose pages are read. Nothing is written there, so a page always has the same receipts."""
        others = [number for number in range(min(12, len(self.rooms))) if number not in self.marked_rooms]
        return [number for number in others if self.room_sizes[number] >= PAGE] or [0]

    def room(self, index: int) -> int:
        """The room of message ``index``: an index into ``rooms``."""
        return int(self._room[index])

    def readers(self, index: int) -> list[int]:
        """The indexes of the users who have read message ``index``, without the sender."""
        fresh = self._seq[index] > self.room_sizes[self._room[index]] - FRESH
        count = min(READERS if fresh else 1, self.users - 1)
        sender = self.sender(index)
        step = 1 + index % (self.users - count)
        return [(sender + offset) % self.users for offset in range(step, step + count)]

    def unread(self, room: int) -> Iterator[tuple[int, int]]:
        """Pairs of a recent message of a room and a user who has not read it. No pair is repeated."""
        targets = self.newest(room, MARKED)
        for step in range(1, self.users):
            for target in targets:
                reader = (self.sender(target) - step) % self.users
                if reader not in self.readers(target):
                    yield target, reader

    def newest(self, room: int, count: int) -> list[int]:
        """The indexes of the newest ``count`` messages of a room, newest first."""
        return [int(index) for index in np.flatnonzero(self._room == room)[::-1][:count]]


def _mixed(seed: int, kind: int, index: int) -> int:
    """64 well mixed bits (Steele, Lea and Flood 2014, "SplitMix")."""
    word = (seed * 0x9E3779B97F4A7C15 + kind * 0xD1B54A32D192ED03 + index * 0x8CB92BA72F3D8DD7) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def _uuid(seed: int, kind: int, index: int) -> str:
    time = int(EPOCH.timestamp() * 1000) + index
    bits = _mixed(seed, kind, index)
    stamp, rest = f"{time:012x}", f"{bits:016x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{rest[:3]}-8{rest[3:6]}-{rest[4:]}"
