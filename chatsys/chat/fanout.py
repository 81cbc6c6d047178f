"""The events that a verb publishes once the store has committed, and the interface that carries them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from chatsys.model.values import EndedSession, Message, Participant, Session, Value


class Event(Value, frozen=True, kw_only=True, tag=True):
    """Something that happened in a room. The tag names the kind of event in bus messages."""

    room: str


class MessagePosted(Event, frozen=True, kw_only=True):
    """A new message: to all sockets in the room, in the order of ``message.seq``."""

    message: Message


class SessionOpened(Event, frozen=True, kw_only=True, tag="UserJoined"):
    """A new session in the room: ``user-joined`` to the others, the list of users to all."""

    session: Session


class SessionClosed(Event, frozen=True, kw_only=True, tag="UserLeft"):
    """A session ended: ``user-left``, then ``user-status-update`` if it was the last, then the list of users."""

    ended: EndedSession


class PresenceChanged(Event, frozen=True, kw_only=True):
    """A participant set its status: to all in the room."""

    who: Participant
    online: bool
    last_seen: datetime


class Typing(Event, frozen=True, kw_only=True):
    """A participant types, or no longer does: to all in the room except ``socket_id``."""

    who: Participant
    socket_id: str
    is_typing: bool


class MessageDelivered(Event, frozen=True, kw_only=True):
    """A delivery receipt: to all in the room. ``delivered_to`` is the complete set so far."""

    message_id: str
    delivered_to: Sequence[str]
    by: Participant
    at: datetime


class MessageRead(Event, frozen=True, kw_only=True):
    """A read receipt: to all in the room. ``read_by`` is the complete set so far."""

    message_id: str
    read_by: Sequence[str]
    by: Participant
    at: datetime


class MessagesRead(Event, frozen=True, kw_only=True):
    """A participant read everything: to all in the room, with exactly the newly marked messages, at least one."""

    message_ids: Sequence[str]
    by: Participant
    at: datetime


class ServerLost(Event, frozen=True, kw_only=True):
    """A server died, or lost the store during a write: what it stored last may not have been published."""


class Fanout(ABC):
    """Carries events to their recipients. It never raises for a recipient's fault, and never waits for a slow one."""

    @abstractmethod
    async def publish(self, event: Event, servers: Sequence[str] | None = None) -> None:
        """Send ``event`` to its recipients. Events published one after another for one room arrive in that order.

        ``servers`` are the servers with sessions in the room, as the store has just returned them; None means those
        that it returned last.
        """

    @property
    def deaf(self) -> bool:
        """Whether events of other servers do not arrive here; if so, this server should get no new clients."""
        return False


class NullFanout(Fanout):
    """A fan-out without recipients, for a store without a server."""

    async def publish(self, event: Event, servers: Sequence[str] | None = None) -> None:
        """Drop the event."""
