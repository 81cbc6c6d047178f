"""A local socket in a room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatsys.model.values import Session
from chatsys.realtime.frames import Outgoing

if TYPE_CHECKING:
    from chatsys.realtime.engine import Connection


class Member:
    """A local socket in a room. ``held`` keeps live messages back until the history is sent, else it is None.

    ``floor`` is the sequence number that the history came to, ``listed`` the version of the list that was sent.
    """

    __slots__ = ("connection", "floor", "held", "listed", "session")

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection = connection
        self.session = session
        self.held: list[Outgoing] | None = []
        self.floor = 0
        self.listed = -1

    def release(self, last: int) -> None:
        """The history up to sequence number ``last`` is sent: send what came meanwhile and go live."""
        self.floor = last
        held, self.held = self.held or [], None
        for out in held:
            if out.seq > last:
                self.connection.push(out)
