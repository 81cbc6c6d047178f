"""The types of HTTP request bodies and of client events' payloads (contract §4, §5, §9 and §14).

They only describe what is accepted, for the API documents. ``chatsys.chat.accounts`` and :mod:`chatsys.wire.inbound`
read the requests, and refuse invalid ones in the words of the contract. Fields that are not declared are ignored.
"""

from __future__ import annotations

import msgspec

from chatsys.wire.scalars import (
    ClientId,
    Count,
    DisplayName,
    Email,
    GuestName,
    Id,
    Password,
    Room,
    Text,
    Username,
    Written,
)

UNSET = msgspec.UNSET
Unset = msgspec.UnsetType


class Sent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all that clients send."""


class Registration(Sent, frozen=True, kw_only=True):
    """A new account. Optional fields that are absent, null or empty take their default."""

    username: Username
    email: Email
    password: Password
    display_name: DisplayName | Unset | None = UNSET
    avatar: Text | Unset | None = UNSET
    bio: Text | Unset | None = UNSET


class Credentials(Sent, frozen=True, kw_only=True):
    """A login; ``username`` may be the email, whose letter case makes no difference."""

    username: Written
    password: Written


class ProfileChange(Sent, frozen=True, kw_only=True):
    """The fields of the profile to change. The password changes only if both of its fields are sent."""

    display_name: DisplayName | Unset | None = UNSET
    avatar: Text | Unset | None = UNSET
    bio: Text | Unset | None = UNSET
    current_password: Text | Unset | None = UNSET
    new_password: Password | Unset | None = UNSET


class JoinPayload(Sent, frozen=True, kw_only=True):
    """``join``: with a valid token as its account, otherwise as a guest with that name.

    A guest is identified by its ``userId``, unless that is shaped like a UUID. ``since`` requests the messages after a
    sequence number. ``epoch`` is the value from the answer to the last join.
    """

    room: Room
    username: GuestName | Unset | None = UNSET
    user_id: str | Unset | None = UNSET
    token: str | Unset | None = UNSET
    since: Count | Unset | None = UNSET
    epoch: str | Unset | None = UNSET


class MessagePayload(Sent, frozen=True, kw_only=True):
    """``send-message``: with a repeated ``clientMessageId``, it stores nothing and gets the first acknowledgement."""

    message: Written
    client_message_id: ClientId | Unset | None = UNSET


class ReceiptPayload(Sent, frozen=True, kw_only=True):
    """``message-delivered`` and ``message-read``: a message of another user in the socket's room."""

    message_id: Id
    room: Room


class RoomPayload(Sent, frozen=True, kw_only=True):
    """``mark-all-read``: the socket's room."""

    room: Room


class StatusPayload(Sent, frozen=True, kw_only=True):
    """``update-online-status``."""

    online: bool
