"""A socket of this server in a room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatsys.model.values import Session

if TYPE_CHECKING:
    from chatsys.engine.connection import Connection


class Member:
    """A socket of this server in a room.

    ``live`` is true once its history was sent. ``current`` is true while every message up to the room's cursor was sent
    or is queued for it. ``position`` is the sequence number up to which it surely has all messages. ``listed`` is the
    version of the last list sent to it.
    """

    __slots__ = ("connection", "current", "listed", "live", "position", "session")

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection = connection
        self.session = session
        self.live = self.current = False
        self.position = 0
        self.listed = -1
