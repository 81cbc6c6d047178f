"""How a chat server is spoken to: what confirms a join and a send, how messages are numbered, where they are stored.

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

ACK_PATIENCE = 2.0
"""Seconds that the acknowledgement of the first join may come after its history."""
TRIES = 3


class UnknownDialect(Exception):
    """No dialect has this name, or a server's own could not be told; the text is a sentence that names the option."""


class Push(msgspec.Struct, gc=False):
    """What a user needs of a message, pushed or in a history (contract §7)."""

    id: str
    message: str
    userId: str  # noqa: N815


class NumberedPush(Push, gc=False):
    """The same with its place in the room (contract §14.2)."""

    seq: int


class Dialect:
    """The documented protocol without its additions (docs/PROTOCOL.md without §14), and what another may say otherwise.

    Nothing is acknowledged: a join is confirmed by its history, a message by the sender's own echo. Messages are told
    apart by their ids. Only registered users can join, one room for each connection.
    """

    name: str = "documented"
    acknowledges: ClassVar[frozenset[str]] = frozenset()
    """Which of ``join`` and ``send`` are confirmed by an acknowledgement."""
    numbered: ClassVar[bool] = False
    """True if messages have ``seq``, without gaps in each room, and a join may say ``since``."""
    join_event: ClassVar[str] = "join"
    send_event: ClassVar[str] = "send-message"
    push_event: ClassVar[str] = "receive-message"
    history_event: ClassVar[str] = "message-history"
    """What a join is answered with: a list of messages, oldest first. Empty if nothing is."""
    error_event: ClassVar[str] = "error"
    leave_event: ClassVar[str] = ""
    """What leaves a room, acknowledged. Empty if it takes a new connection."""
    receipt_events: ClassVar[tuple[str, ...]] = ("message-delivered", "message-read")
    resends: ClassVar[bool] = False
    """True if a message may be sent again after a lost connection, and is stored once (contract §14.3)."""
    push: ClassVar[type] = Push
    """A msgspec Struct with ``id``, ``message`` and ``userId``, whatever a message calls them; ``seq`` if numbered."""
    without: ClassVar[frozenset[str]] = frozenset({"search_users"})
    """Activities of weights.py that the server does not have."""
    reads_back: ClassVar[bool] = True
    """True if :meth:`stored` can read what is stored."""

    @property
    def confirmation(self) -> str:
        """What confirms a message, as Locust's table calls it: ``ack``, or ``echo`` for the sender's own push."""
        return "ack" if "send" in self.acknowledges else "echo"

    def account(self, rest: Rest, username: str) -> accounts.UserAccount:
        """Make an account. Raises RestError."""
        return accounts.register(rest, username)

    def join(self, account: accounts.UserAccount, room: str) -> dict[str, object]:
        """What ``join_event`` carries."""
        return {"room": room, "username": account.username, "userId": account.user_id, "token": account.token}

    def joined(self, answer: Any, account: accounts.UserAccount) -> bool:
        """Whether the acknowledgement of a join says that the account's user has joined."""
        return bool(answer.get("success")) and answer.get("userId") == account.user_id

    def message(self, room: str, text: str, token: str) -> object:
        """What ``send_event`` carries."""
        return {"message": text}

    def confirmed(self, answer: Any) -> tuple[int, str] | str:
        """The number (0 if there is none) and id of a sent message, or why it was refused.

        ``answer`` is what the acknowledgement carries, or the sender's own echo.
        """
        return 0, answer.id

    def stored(self, read: Read, room: str, base: int) -> Iterable[Any]:
        """A room's messages, newest first, after the number ``base`` if numbered. ``read`` gets a path by REST.

        Each has ``id`` and ``message``, as :class:`chatsys.results.audit.Kept`. Raises Unreadable.
        """
        return newest_first(read, room, Kept)


class Chatsys(Dialect):
    """The protocol with its additions: acknowledgements, numbers, replay, idempotent sending."""

    name = "chatsys"
    acknowledges = frozenset({"join", "send"})
    numbered = True
    leave_event = "leave-room"
    resends = True
    push = NumberedPush
    without = frozenset()

    def message(self, room: str, text: str, token: str) -> object:
        """With the token, under which it is stored once."""
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
    """A built-in dialect by its name, or one's own by ``module:Class``. Raises UnknownDialect."""
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
    """The dialect of the server at ``host``, by what answers a first join there. Raises UnknownDialect.

    A first join may fail where others make the same room at that moment: it is tried again.
    """
    asked, why = Dialect(), ""
    for _ in range(TRIES):
        client = SocketIOClient(host, transport=transport, reconnect=False, timeout=timeout)
        acknowledged, shown, refused = AsyncResult(), AsyncResult(), AsyncResult()
        client.on(asked.history_event, shown.set)
        client.on(asked.error_event, refused.set)
        try:
            client.connect()
            client.emit(asked.join_event, asked.join(account, room), then=acknowledged.set)
            gevent.wait((acknowledged, shown, refused), timeout=timeout, count=1)
            if shown.ready():
                gevent.wait((acknowledged, refused), timeout=ACK_PATIENCE, count=1)
        except SocketIOError as error:
            why = str(error)
            continue
        finally:
            client.disconnect()
        answer = acknowledged.get() if acknowledged.ready() else None
        if isinstance(answer, Acknowledged) and _is_ours(answer.args):
            return Chatsys()
        if shown.ready():
            return asked
        why = f"it said {refused.get()}" if refused.ready() else "neither an acknowledgement nor a history came"
    raise UnknownDialect(f"{host} does not say which protocol it speaks ({why}): give --dialect {CHOICES}.")


def _is_ours(args: list[Any]) -> bool:
    return len(args) == 1 and isinstance(args[0], dict) and "lastSeq" in args[0]
