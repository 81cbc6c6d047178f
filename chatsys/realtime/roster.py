"""The sessions in a room, kept up to date by events and compared with the store from time to time.

A session is listed from its join event to its leave event, whatever the store returns meanwhile. So a list never shows
a session before its ``user-joined``. Profiles and statuses come from the last comparison and from events since then.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice

import msgspec

from chatsys.model.values import Session
from chatsys.wire import objects

LISTED = 1000
"""Maximum sessions in a list: the newest, and the receiver's own. Contract §10.2."""

ALWAYS_READ = 100
"""A room of at most this many sessions is compared with the store before each list."""

READ_AGAIN = 0.003
"""Minimum seconds between two comparisons, for each further session. Reading a session takes some microseconds."""


class Roster:
    """The sessions of one room in order of joining, and the list of them as JSON.

    ``version`` changes when a session joins or leaves, not when a profile or status changes. The roster is ``whole``
    after its first comparison with the store; before, it only records events. ``beginnings`` counts its resets.
    """

    def __init__(self, listed: int) -> None:
        self.version = 0
        self.beginnings = 0
        self._listed = listed
        self._sessions: dict[str, Session] | None = None
        self._recorded: list[tuple[bool, Session]] = []
        self._json: dict[str, bytes] = {}
        self._newest: tuple[bytes, dict[str, None]] | None = None
        self._read_at = 0.0

    def __len__(self) -> int:
        return len(self._sessions or ())

    @property
    def whole(self) -> bool:
        """Whether all sessions in the room are known."""
        return self._sessions is not None

    @property
    def cut(self) -> bool:
        """Whether the room has more sessions than a list may contain."""
        return len(self) > self._listed

    def ids(self) -> list[str]:
        """The session ids in order of joining."""
        return list(self._sessions or ())

    def find(self, session_id: str) -> Session | None:
        """A session by its id, or None if it is not known."""
        return (self._sessions or {}).get(session_id)

    def begin(self) -> None:
        """Reset: events of other servers arrive only from now on, so the store must be read after this call."""
        self.beginnings += 1
        self._sessions = None
        self._recorded = []
        self._json.clear()
        self._changed()

    def began(self, session: Session) -> bool:
        """Add a session. Returns false if it was known already."""
        if self._sessions is None:
            self._recorded.append((True, session))
        elif session.session_id in self._sessions:
            return False
        else:
            self._sessions[session.session_id] = session
        self._changed()
        return True

    def ended(self, session: Session) -> bool:
        """Remove a session. Returns false if it was not known."""
        if self._sessions is None:
            self._recorded.append((False, session))
        elif self._sessions.pop(session.session_id, None) is None:
            return False
        self._json.pop(session.session_id, None)
        self._changed()
        return True

    def status(self, user_id: str, online: bool, last_seen: datetime) -> None:
        """Update the status of a user's sessions."""
        for session in list((self._sessions or {}).values()):
            if session.who.user_id == user_id and not session.who.guest:
                self._put(msgspec.structs.replace(session, online=online, last_seen=last_seen))

    def stale(self, now: float) -> bool:
        """Whether the store should be read before the next list. ``now`` in seconds of any clock."""
        return not self.whole or now >= self._read_at + max(0, len(self) - ALWAYS_READ) * READ_AGAIN

    def compare(self, sessions: Sequence[Session], now: float) -> None:
        """Update order, profiles and statuses with ``sessions``, read from the store.

        Once the roster is whole, this neither adds nor removes sessions.
        """
        if self._sessions is None:
            self._sessions = _with_recorded(sessions, self._recorded)
            self._recorded = []
        else:
            before, self._sessions = self._sessions, _in_order(sessions, self._sessions)
            for session_id, session in self._sessions.items():
                if before[session_id] is not session and before[session_id] != session:
                    self._json.pop(session_id, None)
        self._newest = None
        self._read_at = now

    def json(self, session_id: str) -> bytes:
        """The list for this session's socket: the newest sessions, preceded by its own if that is not among them."""
        newest, listed = self._newest_json()
        own = None if session_id in listed else self.find(session_id)
        if own is None:
            return newest
        return b"[" + self._json_of(own) + (b"," if listed else b"") + newest[1:]

    def is_listed(self, session_id: str) -> bool:
        """Whether the session is among the newest, so that its socket gets the common list."""
        return session_id in self._newest_json()[1]

    def size(self) -> int:
        """The approximate bytes of a list of all sessions."""
        newest, listed = self._newest_json()
        return len(newest) * len(self) // max(1, len(listed))

    def _newest_json(self) -> tuple[bytes, dict[str, None]]:
        if self._newest is None:
            sessions = self._sessions or {}
            ids = list(islice(reversed(sessions), self._listed))
            ids.reverse()
            known = self._json
            parts = [known.get(session_id) or self._json_of(sessions[session_id]) for session_id in ids]
            self._newest = b"[" + b",".join(parts) + b"]", dict.fromkeys(ids)
        return self._newest

    def _json_of(self, session: Session) -> bytes:
        found = self._json.get(session.session_id)
        if found is None:
            found = self._json[session.session_id] = objects.encode(objects.room_user(session))
        return found

    def _put(self, session: Session) -> None:
        assert self._sessions is not None
        self._sessions[session.session_id] = session
        self._json.pop(session.session_id, None)
        self._newest = None

    def _changed(self) -> None:
        self.version += 1
        self._newest = None


def _with_recorded(sessions: Iterable[Session], recorded: Iterable[tuple[bool, Session]]) -> dict[str, Session]:
    """The sessions read from the store, updated with the recorded joins and leaves."""
    known = {session.session_id: session for session in sessions}
    for began, session in recorded:
        if began:
            known.setdefault(session.session_id, session)
        else:
            known.pop(session.session_id, None)
    return known


def _in_order(sessions: Iterable[Session], known: dict[str, Session]) -> dict[str, Session]:
    """The known sessions in the store's order. Those that the store no longer has are merged in by their join time."""
    merged = [session for session in sessions if session.session_id in known]
    read = {session.session_id for session in merged}
    for session_id, session in known.items():
        if session_id not in read:
            insort(merged, session, key=lambda each: (each.joined_at, each.session_id))
    return {session.session_id: session for session in merged}
