"""A chat server's dialect: what confirms a join and a send, how messages are numbered, and how to read them back.

``chatsys`` and ``documented`` are built in. A third is a subclass of :class:`Dialect`; docs/LOADTESTING.md shows one.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import gevent
import msgspec
from gevent.event import AsyncResult

from chatsys.client.blocking.client import SocketIOClient
from chatsys.client.errors import SocketIOError
from chatsys.client.namespace import Acknowledged
from chatsys.loadtesting import accounts
from chatsys.results.audit import AuditedMessage, Kept, Read, history, newest_first

if TYPE_CHECKING:
    from chatsys.loadtesting.rest import Rest

ACK_TIMEOUT = 2.0
"""Seconds that the acknowledgement of the first join may arrive after its history."""
TRIES = 3


class UnknownDialect(Exception):
    """No dialect has this name, or the server's dialect is unclear. The text is a sentence that names the option."""


class Push(msgspec.Struct, gc=False):
    """The fields of a message that a user needs, from a push or a history (contract §7)."""

    id: str
    message: str
    userId: str  # noqa: N815


class NumberedPush(Push, gc=False):
    """The same with its sequence number in the room (contract §14.2)."""

    seq: int


class Dialect:
    """The documented protocol without its additions (docs/PROTOCOL.md without §14). Subclasses override what differs.

    Nothing is acknowledged: a join is confirmed by its history, and a message by the sender's own echo. Messages have
    ids and no numbers. Only registered users can join, and a connection is in one room.
    """

    name: str = "documented"
    acknowledges: ClassVar[frozenset[str]] = frozenset()
    """Which of ``join`` and ``send`` the server acknowledges."""
    numbered: ClassVar[bool] = False
    """True if messages have a ``seq`` without gaps in each room, and a join may carry ``since``."""
    join_event: ClassVar[str] = "join"
    send_event: ClassVar[str] = "send-message"
    push_event: ClassVar[str] = "receive-message"
    history_event: ClassVar[str] = "message-history"
    """The event that answers a join with a list of messages, oldest first. Empty if there is none."""
    error_event: ClassVar[str] = "error"
    leave_event: ClassVar[str] = ""
    """The acknowledged event that leaves a room. Empty if leaving takes a new connection."""
    receipt_events: ClassVar[tuple[str, ...]] = ("message-delivered", "message-read")
    resends: ClassVar[bool] = False
    """True if a message that is sent again after a lost connection is stored only once (contract §14.3)."""
    push: ClassVar[type] = Push
    """A msgspec Struct with ``id``, ``message`` and ``userId``, and ``seq`` if numbered; the wire names may differ."""
    without: ClassVar[frozenset[str]] = frozenset({"search_users"})
    """Activities of weights.py that the server does not support."""
    reads_back: ClassVar[bool] = True
    """True if :meth:`stored` works: the server can list its stored messages."""

    @property
    def confirmation(self) -> str:
        """What confirms a message, as a type in Locust's table: ``ack``, or ``echo`` for the sender's own push."""
        return "ack" if "send" in self.acknowledges else "echo"

    def account(self, rest: Rest, username: str) -> accounts.UserAccount:
        """Register an account. Raises RestError."""
        return accounts.register(rest, username)

    def join(self, account: accounts.UserAccount, room: str) -> dict[str, object]:
        """The payload of ``join_event``."""
        return {"room": room, "username": account.username, "userId": account.user_id, "token": account.token}

    def joined(self, answer: Any, account: accounts.UserAccount) -> bool:
        """Whether the acknowledgement of a join confirms that the account's user has joined."""
        return bool(answer.get("success")) and answer.get("userId") == account.user_id

    def message(self, room: str, text: str, token: str) -> object:
        """The payload of ``send_event``."""
        return {"message": text}

    def confirmed(self, answer: Any) -> tuple[int, str] | str:
        """The sequence number (0 if there is none) and id of a sent message, or the reason for its refusal.

        ``answer`` is the argument of the acknowledgement, or the sender's own echo.
        """
        return 0, answer.id

    def stored(self, read: Read, room: str, base: int) -> Iterable[Any]:
        """A room's stored messages, newest first; if they are numbered, those after the number ``base``.

        Each has ``id`` and ``message``, as :class:`chatsys.results.audit.Kept`. ``read`` requests a REST path. Raises
        Unreadable.
        """
        return newest_first(read, room, Kept)


class Chatsys(Dialect):
    """The protocol with its additions: acknowledgements, sequence numbers, replay, idempotent sending."""

    name = "chatsys"
    acknowledges = frozenset({"join", "send"})
    numbered = True
    leave_event = "leave-room"
    resends = True
    push = NumberedPush
    without = frozenset()

    def message(self, room: str, text: str, token: str) -> object:
        """The text with its token: the server stores a token once."""
        return {"message": text, "clientMessageId": token}

    def confirmed(self, answer: Any) -> tuple[int, str] | str:
        """Contract §14.1."""
        if answer.get("success"):
            return answer["seq"], answer["id"]
        return f"{answer.get('code')} {answer.get('message')}"

    def stored(self, read: Read, room: str, base: int) -> Iterable[AuditedMessage]:
        """Contract §6.3."""
        return history(read, room, base)


DIALECTS: dict[str, type[Dialect]] = {dialect.name: dialect for dialect in (Chatsys, Dialect)}
CHOICES = f"{' or '.join(DIALECTS)}, or a class of your own as module:Class"


def dialect(name: str) -> Dialect:
    """A built-in dialect by its name, or any other as ``module:Class``. Raises UnknownDialect."""
    module, _, own = name.partition(":")
    if not own:
        if name not in DIALECTS:
            raise UnknownDialect(f"--dialect {name}: give {CHOICES}.")
        return DIALECTS[name]()
    try:
        found = getattr(importlib.import_module(module), own)()
    except (ImportError, AttributeError, TypeError) as error:
        raise UnknownDialect(f"--dialect {name}: {error}.") from error
    if not isinstance(found, Dialect):
        raise UnknownDialect(f"--dialect {name}: {own} is not a subclass of chatsys.loadtesting.dialects.Dialect.")
    found.name = name
    return found


def spoken_at(host: str, account: accounts.UserAccount, room: str, transport: str, timeout: float) -> Dialect:
    """The dialect of the server at ``host``, detected by how it answers a first join. Raises UnknownDialect.

    A first join can fail while other users create the same room, so it is repeated.
    """
    documented, why = Dialect(), ""
    for _ in range(TRIES):
        client = SocketIOClient(host, transport=transport, reconnect=False, timeout=timeout)
        acknowledged, with_history, refused = AsyncResult(), AsyncResult(), AsyncResult()
        client.on(documented.history_event, with_history.set)
        client.on(documented.error_event, refused.set)
        try:
            client.connect()
            client.emit(documented.join_event, documented.join(account, room), then=acknowledged.set)
            gevent.wait((acknowledged, with_history, refused), timeout=timeout, count=1)
            if with_history.ready():
                gevent.wait((acknowledged, refused), timeout=ACK_TIMEOUT, count=1)
        except SocketIOError as error:
            why = str(error)
            continue
        finally:
            client.disconnect()
        answer = acknowledged.get() if acknowledged.ready() else None
        if isinstance(answer, Acknowledged) and _is_ours(answer.args):
            return Chatsys()
        if with_history.ready():
            return documented
        why = f"it answered {refused.get()}" if refused.ready() else "it sent neither an acknowledgement nor a history"
    raise UnknownDialect(f"{host} does not say which protocol it speaks ({why}): give --dialect {CHOICES}.")


def _is_ours(args: list[Any]) -> bool:
    return len(args) == 1 and isinstance(args[0], dict) and "lastSeq" in args[0]
