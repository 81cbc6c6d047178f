"""A local socket in a room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatsys.model.values import Session

if TYPE_CHECKING:
    from chatsys.engine.connection import Connection


class Member:
    """A local socket in a room.

    ``live`` is true once its history is sent, ``current`` while no message is missing in its list; ``position`` is the
    newest that it surely has. ``listed`` is the version of the list that was sent.
    """

    __slots__ = ("connection", "current", "listed", "live", "position", "session")

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection = connection
        self.session = session
        self.live = self.current = False
        self.position = 0
        self.listed = -1
