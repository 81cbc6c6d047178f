"""The bodies of HTTP answers, one type each (contract §1.3, §4 to §6, §11 and §14.6).

The fields stand in the order in which they are sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import msgspec

from chatsys.wire.objects import (
    MessageObject,
    OwnProfile,
    PublicProfile,
    RoomCounts,
    RoomEntry,
    RoomMember,
    RoomMemberPresence,
    Wire,
)
from chatsys.wire.scalars import Count, Id, Refused, Success, Timestamp

UNSET = msgspec.UNSET
Unset = msgspec.UnsetType


class Claims(TypedDict):
    """What a token says; ``iat`` and ``exp`` are seconds since 1970."""

    userId: Id
    username: str
    email: str
    iat: int
    exp: int


class Answered(Wire, frozen=True, kw_only=True):
    """Base of all answers to what was done."""

    success: Success = True


class Said(Answered, frozen=True, kw_only=True):
    """It was done, and there is no more to say."""

    message: str


class Problem(Wire, frozen=True, kw_only=True):
    """It was not done. ``errors`` has an entry for each wrong field; ``reason`` says why a server is not ready."""

    success: Refused = False
    message: str
    errors: Sequence[str] | Unset = UNSET
    reason: str | Unset = UNSET


class LoggedIn(Said, frozen=True, kw_only=True):
    """One's own account, and a token for it."""

    user: OwnProfile
    token: str


class TokenClaims(Said, frozen=True, kw_only=True):
    """The claims of the caller's token."""

    user: Claims


class UserList(Answered, frozen=True, kw_only=True):
    """Accounts; ``total`` is their number here."""

    users: Sequence[PublicProfile]
    total: Count


class UserSearch(Answered, frozen=True, kw_only=True):
    """Accounts that were searched for; ``count`` is their number here."""

    query: str
    results: Sequence[PublicProfile]
    count: Count


class OneUser(Answered, frozen=True, kw_only=True):
    """One account."""

    user: PublicProfile


class ChangedUser(Said, frozen=True, kw_only=True):
    """One's own account after the change."""

    user: PublicProfile


class RoomList(Answered, frozen=True, kw_only=True):
    """A page of rooms; ``total`` is their number here, ``next`` the name to go on after if there are more."""

    data: Sequence[RoomEntry]
    total: Count
    next: str | Unset = UNSET


class RoomMembers(Answered, frozen=True, kw_only=True):
    """The newest sessions in a room, in two forms; ``count`` is the number of all."""

    room: str
    count: Count
    data: Sequence[RoomMember]
    users: Sequence[RoomMemberPresence]


class MessagePage(Answered, frozen=True, kw_only=True):
    """A page of messages, oldest first; ``total`` is their number here.

    A page that was cut for its bytes has ``truncated`` and the ``nextOffset`` to go on with.
    """

    room: str
    data: Sequence[MessageObject]
    total: Count
    limit: Count
    offset: Count
    truncated: Success | Unset = UNSET
    next_offset: Count | Unset = UNSET


class RoomStatistics(Answered, frozen=True, kw_only=True):
    """Counts of a room."""

    room: str
    data: RoomCounts


class Healthy(Said, frozen=True, kw_only=True):
    """The process answers."""

    timestamp: Timestamp


class SessionCounts(Wire, frozen=True, kw_only=True):
    """Sessions now, and rooms with at least one of them."""

    active_users: Count
    total_rooms: Count


class About(Said, frozen=True, kw_only=True):
    """What this server is; ``endpoints`` has lists of ``METHOD /path`` by their subject."""

    version: str
    documentation: str
    stats: SessionCounts
    endpoints: Mapping[str, Sequence[str] | str]
