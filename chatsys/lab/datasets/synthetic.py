"""Users, messages and receipts as a pure function of sizes and seed: both stores are filled with the same rows.

Rooms are of very different size (room k gets a share in proportion to 1/(k+1)), every message is read by one user and
the newest 200 of each room by ten, as in a chat that is alive. Names are made of syllables, so that a search text of
six letters matches about one user, whatever the number of users: the growth of a search is then that of looking, not
that of answering. From 100 messages on a room holds a whole page with as many receipts at any size.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from chatsys.lab.workloads.operation import PAGE
from chatsys.model.rules import default_avatar
from chatsys.model.values import NewMessage, Participant, User

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FRESH = 200  # the newest messages of a room that everybody has seen
READERS = 10
_PER_ROOM = 5_000
_ONE_ROOM = 200  # messages up to which there is but one, so that it holds a page
_SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwxyz" for vowel in "aeiou"]
_WORDS = [
    "the",
    "plan",
    "for",
    "today",
    "is",
    "ready",
    "please",
    "look",
    "when",
    "you",
    "have",
    "time",
    "and",
    "tell",
    "me",
    "what",
    "you",
    "think",
    "about",
    "it",
]
_MASK = (1 << 64) - 1
_HASH = "$2b$10$abcdefghijklmnopqrstuuJ4Tn9v3hVmVnLr7mJk2o1D0q3s5t7u9"  # shaped like bcrypt's; nobody logs in


class Synthetic:
    """``users`` accounts and ``messages`` messages with receipts; index i always means the same row.

    ``VERSION`` changes when the rows of given sizes and seed do: databases that hold them are then made again.
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
        """The id of user ``index``: a UUID of version 7 whose time is the user's."""
        return _uuid(self.seed, 1, index)

    def name(self, index: int) -> str:
        """Eight letters of four syllables; unlike the username not unique."""
        bits = _mixed(self.seed, 2, index)
        return "".join(_SYLLABLES[(bits >> shift) % 100] for shift in (0, 16, 32, 48))

    def username(self, index: int) -> str:
        """A unique username that begins with the name."""
        return f"{self.name(index)}_{index:x}"

    def search_text(self, index: int) -> str:
        """Six letters that user ``index`` has in its username, and hardly anybody else."""
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
        """Message ``index``; ``who`` saves making the sender again."""
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
        """Who sent message ``index``: a user's index."""
        return int(self._sender[index])

    def seq(self, index: int) -> int:
        """The place of message ``index`` in its room."""
        return int(self._seq[index])

    def room_id(self, number: int) -> str:
        """The id of room ``number`` in a database."""
        return _uuid(self.seed, 5, number)

    @property
    def marked_rooms(self) -> tuple[int, int]:
        """The rooms whose messages are marked read, by the stores and by their baselines: no pair comes twice."""
        return 1 % len(self.rooms), 2 % len(self.rooms)

    @property
    def read_rooms(self) -> list[int]:
        """Large rooms whose pages are read. Nothing is written there: a page has the same receipts all the time."""
        others = [number for number in range(min(12, len(self.rooms))) if number not in self.marked_rooms]
        return [number for number in others if self.room_sizes[number] >= PAGE] or [0]

    def room(self, index: int) -> int:
        """The room of message ``index``: an index into ``rooms``."""
        return int(self._room[index])

    def readers(self, index: int) -> list[int]:
        """Who has read message ``index``: indexes of users, never the sender."""
        fresh = self._seq[index] > self.room_sizes[self._room[index]] - FRESH
        count = min(READERS if fresh else 1, self.users - 1)
        sender = self.sender(index)
        step = 1 + index % (self.users - count)
        return [(sender + offset) % self.users for offset in range(step, step + count)]

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
