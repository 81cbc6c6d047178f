"""The types of the HTTP response bodies (contract §1.3, §4 to §6, §11 and §14.6).

Fields are sent in the order in which they are declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import msgspec

from chatsys.wire import objects
from chatsys.wire.scalars import Count, Id, Refused, Success, Timestamp

UNSET = msgspec.UNSET
Unset = msgspec.UnsetType


class Claims(TypedDict):
    """The claims of a token; ``iat`` and ``exp`` are seconds since 1970."""

    userId: Id
    username: str
    email: str
    iat: int
    exp: int


class Answered(objects.Wire, frozen=True, kw_only=True):
    """Base of all responses to successful requests."""

    success: Success = True


class Said(Answered, frozen=True, kw_only=True):
    """The request succeeded; the response has only a message."""

    message: str


class Problem(objects.Wire, frozen=True, kw_only=True):
    """The request failed. ``errors`` has an entry for each invalid field; ``reason`` says why a server is not ready."""

    success: Refused = False
    message: str
    errors: Sequence[str] | Unset = UNSET
    reason: str | Unset = UNSET


class LoggedIn(Said, frozen=True, kw_only=True):
    """The caller's own account and a token for it."""

    user: objects.OwnProfile
    token: str


class TokenClaims(Said, frozen=True, kw_only=True):
    """The claims of the caller's token."""

    user: Claims


class UserList(Answered, frozen=True, kw_only=True):
    """Accounts; ``total`` is the number of accounts in this response."""

    users: Sequence[objects.PublicProfile]
    total: Count


class UserSearch(Answered, frozen=True, kw_only=True):
    """Accounts found by a search; ``count`` is the number of accounts in this response."""

    query: str
    results: Sequence[objects.PublicProfile]
    count: Count


class OneUser(Answered, frozen=True, kw_only=True):
    """One account."""

    user: objects.PublicProfile


class ChangedUser(Said, frozen=True, kw_only=True):
    """The caller's own account after the change."""

    user: objects.PublicProfile


class RoomList(Answered, frozen=True, kw_only=True):
    """A page of rooms; ``total`` is the number of rooms on it. If there are more, ``next`` continues the list."""

    data: Sequence[objects.RoomEntry]
    total: Count
    next: str | Unset = UNSET


class RoomMembers(Answered, frozen=True, kw_only=True):
    """The newest sessions in a room, in two forms; ``count`` is the number of all sessions in the room."""

    room: str
    count: Count
    data: Sequence[objects.RoomMember]
    users: Sequence[objects.RoomMemberPresence]


class MessagePage(Answered, frozen=True, kw_only=True):
    """A page of messages, oldest first; ``total`` is the number of messages on it.

    A page that was cut to limit its bytes has ``truncated``, and ``nextOffset`` for the request that continues it.
    """

    room: str
    data: Sequence[objects.MessageObject]
    total: Count
    limit: Count
    offset: Count
    truncated: Success | Unset = UNSET
    next_offset: Count | Unset = UNSET


class RoomStatistics(Answered, frozen=True, kw_only=True):
    """The counts of a room."""

    room: str
    data: objects.RoomCounts


class Healthy(Said, frozen=True, kw_only=True):
    """The process is running."""

    timestamp: Timestamp


class SessionCounts(objects.Wire, frozen=True, kw_only=True):
    """The number of current sessions, and of rooms with at least one session."""

    active_users: Count
    total_rooms: Count


class About(Said, frozen=True, kw_only=True):
    """Information about the server; ``endpoints`` has lists of ``METHOD /path`` by subject."""

    version: str
    documentation: str
    stats: SessionCounts
    endpoints: Mapping[str, Sequence[str] | str]
