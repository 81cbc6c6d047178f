"""The migration guide's checklist as a program: a scratch database, a server process, and two users who talk.

The steps run in order, and each needs those before it. A step that fails says what it saw and what helps.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chatsys.client.asynchronous import AsyncClient
from chatsys.client.errors import SocketIOError
from chatsys.client.requests import request
from chatsys.database.backup import backup, scratch_database
from chatsys.database.connecting import connected
from chatsys.database.invariants import broken_invariants
from chatsys.database.restore import restore
from chatsys.database.setup import initialise
from chatsys.errors import ChatsysError, OperatorError
from chatsys.lab.subjects.servers import ServerProcess, chat_server
from chatsys.model.rules import DEFAULT_ROOMS

ROOM = "general"
TEXT = "Is this kept?"
_TIMEOUT = 10.0
_MISSING = object()


class Visitor:
    """A user in the room, on the event loop of ``runner``. Events wait in queues until :meth:`event` takes them."""

    def __init__(self, runner: asyncio.Runner, url: str) -> None:
        self._runner = runner
        self._socket = AsyncClient(url, timeout=_TIMEOUT)
        self._events = {event: asyncio.Queue[Any]() for event in ("receive-message", "message-read-update")}
        for event, queue in self._events.items():
            self._socket.on(event, queue.put_nowait)
        runner.run(self._socket.connect())

    def ask(self, event: str, payload: Any) -> dict[str, Any]:
        """Send an event and return its acknowledgement. Raises SocketIOError."""
        (answer,) = self._runner.run(self._socket.call(event, payload)).args
        return dict(answer)

    def event(self, name: str) -> Any:
        """The payload of the next event of this name. Raises TimeoutError."""
        return self._runner.run(asyncio.wait_for(self._events[name].get(), _TIMEOUT))

    def leave(self) -> None:
        """Close the connection."""
        self._socket.abort()


@dataclass(kw_only=True)
class Checked:
    """The state that the steps share. ``resources`` closes in reverse order what they opened."""

    url: str
    resources: ExitStack
    scratch: str = ""
    server: ServerProcess | None = None
    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    secret: str = field(default_factory=lambda: secrets.token_hex(32))
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    visitors: dict[str, Visitor] = field(default_factory=dict)
    message_id: str = ""

    def __post_init__(self) -> None:
        self.runner = self.resources.enter_context(asyncio.Runner())

    def start(self) -> None:
        """Start a server on the scratch database."""
        self.server = self.resources.enter_context(chat_server(self.scratch, settings={"JWT_SECRET": self.secret}))

    def http(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """An answer of the REST interface. Raises OperatorError unless it says success."""
        assert self.server is not None
        status, content = request(self.server.url, method, path, body, timeout=_TIMEOUT)
        answer: dict[str, Any] = json.loads(content)
        if not answer.get("success"):
            raise OperatorError(f"{method} {path} was answered with {status}: {answer.get('message')}.")
        return answer

    def join(self, name: str) -> Visitor:
        """Bring a user into the room."""
        assert self.server is not None
        visitor = self.visitors[name] = Visitor(self.runner, self.server.url)
        self.resources.callback(visitor.leave)
        expect(visitor.ask("join", {"room": ROOM, "token": self.tokens[name]}), "success", True)
        return visitor

    def history(self) -> dict[str, Any]:
        """The sent message, as the history has it."""
        found = self.http("GET", f"/api/rooms/{quote(ROOM)}/messages")["data"]
        kept = [message for message in found if message["id"] == self.message_id]
        if not kept:
            raise OperatorError(f"The message is not among the {len(found)} of the room's history.")
        message: dict[str, Any] = kept[0]
        return message


def expect(answer: dict[str, Any], key: str, value: object) -> None:
    """Raise OperatorError unless ``answer[key]`` is ``value``."""
    if answer.get(key, _MISSING) != value:
        raise OperatorError(f"The server answered {json.dumps(answer)[:200]}, where {key} should be {value!r}.")


def reachable(state: Checked) -> None:
    """PostgreSQL answers and is of a version that chatsys supports."""
    with connected(state.url) as connection:
        version = connection.info.server_version
    if not 140_000 <= version < 190_000:
        raise OperatorError(f"The server is PostgreSQL {version // 10_000}.")


def created(state: Checked) -> None:
    """A scratch database can be created."""
    state.scratch = state.resources.enter_context(scratch_database(state.url))


def initialised(state: Checked) -> None:
    """The schema is this program's, and the default rooms are there."""
    initialise(state.scratch)
    with connected(state.scratch) as connection:
        names = {row[0] for row in connection.execute("SELECT room_name FROM rooms").fetchall()}
    if names != {name for name, _ in DEFAULT_ROOMS}:
        raise OperatorError(f"The rooms are {sorted(names)}.")


def starts(state: Checked) -> None:
    """A server process starts on it and answers."""
    state.start()
    state.http("GET", "/api/health")


def registers(state: Checked) -> None:
    """Two users can register."""
    for name in ("ann", "ben"):
        account = {"username": name, "email": f"{name}@example.org", "password": state.password}
        state.ids[name] = state.http("POST", "/api/auth/register", account)["user"]["userId"]


def logs_in(state: Checked) -> None:
    """They can log in."""
    for name in ("ann", "ben"):
        answer = state.http("POST", "/api/auth/login", {"username": name, "password": state.password})
        state.tokens[name] = answer["token"]


def sends(state: Checked) -> None:
    """One sends a message, the other gets it."""
    ann, ben = state.join("ann"), state.join("ben")
    answer = ann.ask("send-message", {"message": TEXT})
    expect(answer, "success", True)
    state.message_id = answer["id"]
    expect(ben.event("receive-message"), "message", TEXT)


def persists(state: Checked) -> None:
    """The message is there after the server was killed and started again."""
    assert state.server is not None
    state.server.kill()
    state.start()
    expect(state.history(), "message", TEXT)


def receipts(state: Checked) -> None:
    """A read receipt reaches the sender and the history."""
    ann, ben = state.join("ann"), state.join("ben")
    ben.ask("message-read", {"messageId": state.message_id, "room": ROOM})
    expect(ann.event("message-read-update"), "readBy", [state.ids["ben"]])
    expect(state.history(), "readBy", [state.ids["ben"]])


def statuses(state: Checked) -> None:
    """A user is online while in a room, and offline after leaving."""
    path = f"/api/users/{state.ids['ben']}"
    expect(state.http("GET", path)["user"], "status", "online")
    state.visitors["ben"].ask("leave-room", None)
    expect(state.http("GET", path)["user"], "status", "offline")


def backs_up(state: Checked) -> None:
    """A backup restores into another database with the same rows, and every invariant holds there."""
    with tempfile.TemporaryDirectory() as folder, scratch_database(state.url) as copy:
        file = backup(state.scratch, Path(folder, "chat.dump"), verify=True).file
        restore(copy, file)
        with connected(copy) as connection:
            broken = broken_invariants(connection)
    if broken:
        raise OperatorError(f"In the copy, this invariant does not hold: {broken[0].promise}")


STEPS: tuple[tuple[str, Callable[[Checked], None], str], ...] = (
    ("PostgreSQL is reachable", reachable, "Start the server; chatsys supports PostgreSQL 14 to 18."),
    ("A database can be created", created, "Give the role the right: ALTER ROLE … CREATEDB"),
    ("chatsys db init succeeds", initialised, "Run `chatsys db status` to see what is pending."),
    ("The server starts", starts, "Start it by hand with `chatsys serve` and read what it says."),
    ("Users can register", registers, "Look at the server's log for the request."),
    ("Users can log in", logs_in, "Look at the server's log for the request."),
    ("Messages can be sent", sends, "Check that nothing between client and server stops WebSockets."),
    ("Messages persist after a restart", persists, "Check fsync and synchronous_commit in postgresql.conf."),
    ("Read receipts work", receipts, "Look at the server's log for errors of the store."),
    ("User status updates", statuses, "Look at the server's log for errors of the store."),
    ("Backup and restore work", backs_up, "Run `chatsys db backup FILE --verify` by hand."),
)
"""Name, step, and what helps when it fails."""

_FAILURES = (OSError, SocketIOError, ValueError, KeyError)
# What a step may raise besides errors of chatsys, such as for a lost connection or an answer of another shape.


def attempt(state: Checked, name: str, step: Callable[[Checked], None], helps: str) -> OperatorError | None:
    """Run one step. Return None, or the error that says what it saw and what helps."""
    try:
        step(state)
    except ChatsysError as error:
        return OperatorError(f"{name}: failed. {error.message}", hint=error.hint or helps)
    except _FAILURES as error:
        return OperatorError(f"{name}: failed. {type(error).__name__}: {error}", hint=helps)
    return None
