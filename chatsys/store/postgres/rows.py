"""Convert rows of the statements into values of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from asyncpg import Record

from chatsys.model.rules import default_avatar
from chatsys.model.values import EndedSession, Message, Participant, Session, User

Profile = tuple[str, str, str]
"""A sender's username, display name and avatar."""

_seq = attrgetter("seq")


def user(row: Record | Sequence[Any]) -> User:
    """An account, from the eleven columns that every statement on users returns."""
    return User(
        user_id=row[0],
        username=row[1],
        email=row[2],
        password_hash=row[3],
        display_name=row[4],
        avatar=row[5],
        bio=row[6],
        online=row[7] == "online",
        last_seen=row[8],
        created_at=row[9],
        last_login=row[10],
    )


def messages(
    found: Sequence[Record], room: str | None = None, profiles: Mapping[str, Profile] = MappingProxyType({})
) -> list[Message]:
    """Messages with their receipts, oldest first, from the twelve columns of the statements in messages.sql.

    A guest's avatar is the generated one. Without ``room``, the first column is the room's name. If the row of an
    account lacks the profile, it is taken from ``profiles``; raises KeyError if it is missing there.
    """
    values = []
    for name, message_id, seq, user_id, username, display_name, avatar, text, at, edited_at, accounts, marked in found:
        delivered_to, read_by = receipts(accounts, marked)
        profile = (username, display_name, avatar) if username is not None else profiles[user_id]
        values.append(
            Message(
                message_id=message_id,
                seq=seq,
                room=room or name,
                user_id=user_id,
                username=profile[0],
                display_name=profile[1],
                avatar=default_avatar(username) if profile[2] is None else profile[2],
                text=text,
                at=at,
                edited_at=edited_at,
                delivered_to=delivered_to,
                read_by=read_by,
            )
        )
    values.sort(key=_seq)
    return values


def receipts(accounts: str | None, marked: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who received a message and who has read it, from its packed receipts (see messages.sql)."""
    delivered_to = () if accounts is None else tuple(accounts.split(" "))
    if marked is None:
        return delivered_to, delivered_to
    words = marked.split(" ")
    delivered_to += tuple([_guest(word) for word in words if "~" in word])
    unread = {_guest(word) if "~" in word else word[1:] for word in words if word[0] == "!"}
    return delivered_to, tuple([reader for reader in delivered_to if reader not in unread])


def _guest(word: str) -> str:
    return bytes.fromhex(word.removeprefix("!")[1:]).decode()


def participant(row: Record) -> Participant:
    """Who a session belongs to, with the current profile."""
    if row["user_id"] is None:
        name = row["guest_name"]
        return Participant(
            user_id=row["guest_id"], username=name, display_name=name, avatar=default_avatar(name), guest=True
        )
    return Participant(
        user_id=row["user_id"],
        username=row["username"],
        display_name=row["display_name"],
        avatar=row["avatar"],
    )


def session(row: Record) -> Session:
    """A session with its participant's presence."""
    return Session(
        session_id=row["session_id"],
        socket_id=row["socket_id"],
        room=row["room_name"],
        who=participant(row),
        joined_at=row["connected_at"],
        online=row["online"],
        last_seen=row["last_seen"],
    )


def ended(row: Record, at: datetime) -> EndedSession:
    """A session that ended at ``at``."""
    return EndedSession(session=session(row), last=row["last"], at=at, servers=servers(row))


def servers(row: Record) -> tuple[str, ...]:
    """The servers that have sessions in the row's room; empty if there is only one server."""
    return tuple(row["servers"] or ())


def sender_columns(who: Participant) -> tuple[Any, Any, Any]:
    """``user_id``, ``guest_id`` and ``guest_name``: an account has the first, a guest the other two."""
    return (None, who.user_id, who.username) if who.guest else (who.user_id, None, None)
