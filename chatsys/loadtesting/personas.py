"""Chat users. weights.py says how often they do what; the ledger records what they see of their room."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import gevent
import msgspec
from gevent.event import AsyncResult, Event
from locust import tag
from locust.env import Environment

from chatsys.client.errors import AckTimeout, ConnectFailed, ConnectionLost, SocketIOError
from chatsys.client.namespace import Acknowledged
from chatsys.loadtesting import accounts, weights
from chatsys.loadtesting.dialects import Dialect
from chatsys.loadtesting.rest import RestError
from chatsys.loadtesting.run import RUN
from chatsys.loadtesting.socketio_user import FIGURES, SocketIOUser, UserEnded
from chatsys.results.ledger import LedgerMember
from chatsys.results.stamps import HOST, now, text_of
from chatsys.results.stays import Stay

DEFAULT_HOST = "http://127.0.0.1:3001"
TASK_SCALE = 1000
TRIES = 3


class ServerRefusal(msgspec.Struct):
    """The server's ``error`` event."""

    message: str


class Gone(ConnectionLost):
    """The user ended the connection itself, so an unconfirmed message is not a failure."""


class ChatUser(SocketIOUser):
    """A user in a room. Each subclass has a persona, which determines its tasks and their frequency."""

    abstract = True
    host = DEFAULT_HOST
    persona: weights.Persona

    def __init_subclass__(cls) -> None:
        """Give a persona its weight and its tasks; ``TASK_SCALE`` is one message of the average user."""
        super().__init_subclass__()
        if "persona" in vars(cls):
            cls.weight, cls.tasks = cls.persona.share, [ChatUser.look_on, ChatUser.look_on_untagged]
            for activity in weights.ACTIVITIES.values():
                count = round(TASK_SCALE * activity.weight * weights.factor(cls.persona, activity))
                cls.tasks += [getattr(ChatUser, activity.name)] * count

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.number = RUN.numbers.take()
        self._nth = RUN.of_persona[self.persona.name].take()
        self.index = RUN.index_of(self.persona.name, self._nth)
        self.io.unhandled = RUN.unhandled
        self.member: Any = None
        self.account: accounts.UserAccount | None = None
        self.room = ""
        self.in_room = False
        self.sends_receipts = random.Random(f"{RUN.seed}/receipts/{self.index}").random() < RUN.receipts
        self._answered_join = Event()
        self._refused: str | None = None
        self._echoes: dict[str, tuple[float, Callable[[Acknowledged | SocketIOError], None]]] = {}
        self._push = FIGURES.timing("push", f"receive-message {self.persona.name}")
        self._push_service = FIGURES.timing("push", f"receive-message {self.persona.name} (service)")
        dialect = RUN.dialect
        self.io.on(dialect.push_event, self._on_message, dialect.push)
        if dialect.history_event:
            self.io.on(dialect.history_event, self._on_history, list[dialect.push])  # type: ignore[name-defined]
        if dialect.error_event:
            self.io.on(dialect.error_event, self._on_error, ServerRefusal)

    # -- arriving and leaving

    def on_start(self) -> None:
        """Get an account, connect and join the room."""
        if RUN.cannot_start:
            raise UserEnded
        try:
            self.account = self.arrive()
        except RestError as error:
            FIGURES.failure("POST", "/api/auth/register", error)
            raise UserEnded from error
        self.room = RUN.room_of(self.index)
        self.connect()
        if not self.join():
            self.io.disconnect()
            raise UserEnded
        RUN.present.append(self)

    def arrive(self) -> accounts.UserAccount:
        """A prepared account. In a login storm the user first logs in with its password."""
        account = RUN.accounts.of(self.number)
        if RUN.scenario.logs_in and account.token:
            credentials = {"username": account.username, "password": account.password}
            content = RUN.rest.timed("POST", "/api/auth/login", "/api/auth/login", credentials)
            if content is None:
                raise UserEnded
            account = accounts.registered(account.username, content)
        return account

    def join(self) -> bool:
        """Join the room; after a reconnect this replays missed messages. False after a failure.

        A first join can be refused while other users create the same room, so it is repeated.
        """
        dialect = RUN.dialect
        for attempt in range(1 if dialect.numbered else TRIES):
            if attempt:
                RUN.count(f"{dialect.join_event} again")
                gevent.sleep(random.uniform(0.1, 0.5))
            self._refused = None
            self.in_room = self._join_once(dialect)
            if self.in_room or self._refused is None:
                break
        else:
            FIGURES.failure("load", dialect.join_event, f"refused {TRIES} times: {self._refused}")
        if not self.in_room and not dialect.numbered:
            self.leave()
        return self.in_room

    def _join_once(self, dialect: Dialect) -> bool:
        payload, again, answer = dialect.join(self.account, self.room), self.member is not None, None
        if not dialect.numbered:  # pushes may arrive before the history
            if not again:
                room: Any = RUN.ledger.room(self.room)
                self.member = Stay(room)
            self.member.visit()
        elif again:
            payload["since"] = self.member.next - 1
        self._answered_join.clear()
        began = time.perf_counter()
        if "join" in dialect.acknowledges:
            answer = self.call(dialect.join_event, payload)
            if answer is None:
                return False
            if not dialect.joined(answer, self.account):
                FIGURES.only_failure("ack", dialect.join_event, f"not joined as the account's user: {answer}")
                return False
        else:
            self.emit(dialect.join_event, payload)
        if dialect.history_event:
            if not self._answered_join.wait(self.timeout):
                FIGURES.failure("load", dialect.history_event, f"no history after {dialect.join_event}")
                return False
            if self._refused is not None:
                return False
            FIGURES.timing("load", dialect.history_event).add((self._history_at - began) * 1000)
        if again and dialect.numbered:
            self.member.rejoined(bool(answer.get("complete", True)))
        return self.member is not None

    def _on_history(self, history: list[Any]) -> None:
        """Enter the history into the books. If messages are numbered, it arrives before any live message."""
        self._history_at = time.perf_counter()
        if not RUN.dialect.numbered:
            if self.member is not None:
                self.member.show((push.id, push.message) for push in history)
        elif self.member is None:
            self.member = LedgerMember(RUN.ledger.room(self.room))
            self.member.begin(history[-1].seq if history else 0)
        else:
            self.member.replay([(push.seq, push.id, push.message) for push in history])
        self._answered_join.set()

    def leave(self) -> None:
        """Leave the room: this user expects no more of its messages."""
        self.in_room = False
        if self.member is not None:
            self.member.leave()
            self.member = None

    def connection_lost(self, error: ConnectionLost) -> None:
        """The connection has ended: sends that wait for an echo fail with ``error``."""
        self.in_room = False
        if self.member is not None:
            self.member.disconnected()
        echoes, self._echoes = self._echoes, {}
        for _, then in echoes.values():
            then(error)

    def lost(self, cause: str) -> None:
        """The server closed the connection, or it broke."""
        super().lost(cause)
        self.connection_lost(ConnectionLost(cause))

    def reconnected(self) -> None:
        """Join again after a reconnect; the history fills the gap."""
        self.join()

    def on_stop(self) -> None:
        """Leave and disconnect; but at the end of the run stay connected, so that messages in flight arrive."""
        if self in RUN.present:
            RUN.present.remove(self)
        if RUN.ending and self.io.connected and self.member is not None:
            RUN.lingering.append(self)
            return
        self.io.disconnect()
        self.connection_lost(Gone("disconnected"))
        self.leave()  # last, because a message that arrives during the disconnect still belongs to the room
        RUN.numbers.release(self.number)
        RUN.of_persona[self.persona.name].release(self._nth)

    # -- receiving

    def _on_message(self, push: Any) -> None:
        at = now()
        if self.member is None:
            FIGURES.failure("push", "receive-message", "a message of a room that this user is not in")
            return
        stamp = self.member.receive(getattr(push, "seq", 0), push.id, push.message)
        if stamp.token in self._echoes:
            began, then = self._echoes.pop(stamp.token)
            then(Acknowledged([push], (time.perf_counter() - began) * 1000))
        if stamp.intended >= RUN.measure_from and stamp.host == HOST:
            self._push.add((at - stamp.intended) / 1e6)
            if stamp.sent != stamp.intended:
                self._push_service.add((at - stamp.sent) / 1e6)
        elif stamp.host and stamp.host != HOST:
            RUN.elsewhere += 1
        if self.sends_receipts and push.userId != self.account.user_id and not RUN.ending:
            receipt = {"messageId": push.id, "room": self.room}
            for event in RUN.dialect.receipt_events:
                RUN.count(event)
                self.emit(event, receipt)

    def _on_error(self, refusal: ServerRefusal) -> None:
        if self.in_room or RUN.dialect.numbered:
            FIGURES.failure("push", "error", refusal.message)
        else:
            self._refused = refusal.message
            self._answered_join.set()

    # -- sending

    @tag("send")
    def send(self) -> None:
        """Send one message and wait for its confirmation.

        After a lost connection send it again, if the server stores it only once (contract §14.3).
        """
        if RUN.ending:  # a user that is being stopped would be killed before its message is confirmed
            return
        dialect, method = RUN.dialect, RUN.dialect.confirmation
        if not dialect.numbered and not self._wait_until(lambda: self.in_room):
            return  # the lost connection was counted already
        at = now()
        room, token, text = self._message(at, at)
        answer = None
        try:
            for attempt in range(TRIES if dialect.resends else 1):
                try:
                    answer = self._confirmed(dialect, token, dialect.message(self.room, text, token))
                except ConnectionLost as error:
                    FIGURES.failure(method, dialect.send_event, error)
                    if attempt + 1 < TRIES and self._wait_until(lambda: self.io.connected):
                        continue
                except AckTimeout as error:
                    FIGURES.failure(method, dialect.send_event, error)
                break
        finally:  # also runs if the user is killed while it waits
            if answer is None:
                room.unconfirmed(token)
        if answer is not None:
            self._answered(room, text, at, at, answer)

    def _confirmed(self, dialect: Dialect, token: str, payload: object) -> Acknowledged:
        """Send and wait for the acknowledgement or the echo. Raises AckTimeout or ConnectionLost."""
        if "send" in dialect.acknowledges:
            return self.io.call(dialect.send_event, payload)
        result = AsyncResult()
        self._emit_for_echo(token, payload, result.set)
        try:
            answer = result.get(timeout=self.timeout)
        except gevent.Timeout as error:
            raise AckTimeout(f"{dialect.send_event}: no echo in {self.timeout:g} s") from error
        finally:
            self._echoes.pop(token, None)
        if isinstance(answer, SocketIOError):
            raise answer
        return answer

    def _emit_for_echo(self, token: str, payload: object, then: Callable[[Acknowledged | SocketIOError], None]) -> None:
        self._echoes[token] = (time.perf_counter(), then)
        try:
            self.io.emit(RUN.dialect.send_event, payload)
        except ConnectionLost:
            self._echoes.pop(token, None)
            raise

    def send_openly(self, intended: int) -> None:
        """Send one message that was due at ``intended``, without waiting for its confirmation."""
        sent, dialect = now(), RUN.dialect
        RUN.watch.start_of_send((sent - intended) / 1e6)
        room, token, text = self._message(intended, sent)
        RUN.pending[token] = room

        def then(answer: Acknowledged | SocketIOError) -> None:
            if RUN.pending.pop(token, None) is None:  # already counted as unconfirmed at the end of the run
                return
            if isinstance(answer, Acknowledged):
                self._answered(room, text, intended, sent, answer)
            else:
                if not isinstance(answer, Gone):
                    FIGURES.failure(dialect.confirmation, dialect.send_event, answer)
                room.unconfirmed(token)

        payload = dialect.message(self.room, text, token)
        try:
            if "send" in dialect.acknowledges:
                self.io.emit(dialect.send_event, payload, then=then)
            else:
                self._emit_for_echo(token, payload, then)
        except ConnectionLost as error:
            then(error)

    def _message(self, intended: int, sent: int) -> tuple[Any, str, str]:
        room, token = self.member.room, RUN.ledger.token()
        room.account.sent += 1
        return room, token, text_of(RUN.ledger.run, token, intended, sent)

    def _answered(self, room: Any, text: str, intended: int, sent: int, answer: Acknowledged) -> None:
        method, event = RUN.dialect.confirmation, RUN.dialect.send_event
        if intended >= RUN.measure_from:
            waited = (now() - intended) / 1e6 if sent != intended else answer.ms
            FIGURES.timing(method, event).add(waited)
            if sent != intended:
                FIGURES.timing(method, f"{event} (service)").add(answer.ms)
        found = RUN.dialect.confirmed(answer.args[0] if answer.args else None)
        if isinstance(found, str):
            room.account.refused += 1
            FIGURES.only_failure(method, event, f"refused: {found}")
        else:
            room.acknowledged(text, *found)

    def _wait_until(self, done: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self.timeout
        while not done() and time.monotonic() < deadline:
            gevent.sleep(0.1)
        return done()

    # -- other things to do

    @tag("typing")
    def typing(self) -> None:
        """Start typing, or stop it."""
        self._typing = not getattr(self, "_typing", False)
        RUN.count("typing")
        self.emit("typing", self._typing)

    @tag("read")
    def open_room(self) -> None:
        """Read the newest page of a random room."""
        RUN.rest.timed("GET", f"/api/rooms/{self._some_room()}/messages?limit=100", "/api/rooms/:room/messages")

    @tag("read")
    def scroll_back(self) -> None:
        """Read an older page of the user's own room."""
        offset = 100 * random.randint(1, 5)
        path = f"/api/rooms/{quote(self.room, safe='')}/messages?limit=100&offset={offset}"
        RUN.rest.timed("GET", path, "/api/rooms/:room/messages?offset")

    @tag("read")
    def list_rooms(self) -> None:
        """List all rooms."""
        RUN.rest.timed("GET", "/api/rooms", "/api/rooms")

    @tag("read")
    def search_users(self) -> None:
        """Search for the first letters of a username."""
        RUN.rest.timed("GET", f"/api/users/search/load_{secrets.token_hex(1)}", "/api/users/search/:query")

    @tag("read")
    def open_profile(self) -> None:
        """Read the profile of a random user."""
        RUN.rest.timed("GET", f"/api/users/{RUN.accounts.some(random.getrandbits(30)).user_id}", "/api/users/:userId")

    @tag("read")
    def room_stats(self) -> None:
        """Read the counts of a random room."""
        RUN.rest.timed("GET", f"/api/rooms/{self._some_room()}/stats", "/api/rooms/:room/stats")

    @tag("rooms")
    def change_room(self) -> None:
        """Leave and join another room, over a new connection if the server has no event for leaving."""
        leave_event = RUN.dialect.leave_event
        if leave_event:
            self.call(leave_event)
        else:
            self.io.disconnect()
            self.connection_lost(Gone("disconnected"))
        self.leave()
        self.room = self._some_room()
        if not leave_event:
            self.connect()
        if not self.join():
            raise UserEnded

    @tag("reconnect")
    def reconnect(self) -> None:
        """Drop the connection without a close, as a phone does, reconnect seconds later, and replay missed messages."""
        self.io.vanish()
        self.connection_lost(Gone("vanished"))
        gevent.sleep(random.uniform(1, 10))
        try:
            FIGURES.timing("connect", self.transport).add(self.io.connect())
        except ConnectFailed as error:
            FIGURES.failure("connect", self.transport, error)
            self.leave()
            raise UserEnded from error
        if not self.join():
            raise UserEnded

    @tag(*{activity.tag for activity in weights.ACTIVITIES.values()})
    def look_on(self) -> None:
        """Do nothing. A user needs a task, even if the tags leave none."""

    def look_on_untagged(self) -> None:
        """The same without tags, for runs that exclude tags."""

    def wait_time(self) -> float:
        """Exponential think time in seconds. Leaving out tasks by tags does not make the others more frequent."""
        return random.expovariate(len(self.tasks) / (TASK_SCALE * RUN.interval))

    def _some_room(self) -> str:
        return RUN.room_of(random.randrange(max(1, RUN.users)))


class Talker(ChatUser):
    """Writes most messages."""

    persona = weights.PERSONAS["talker"]


class Reader(ChatUser):
    """Reads a lot and writes a little."""

    persona = weights.PERSONAS["reader"]


class Lurker(ChatUser):
    """Only reads."""

    persona = weights.PERSONAS["lurker"]


class Mobile(ChatUser):
    """Loses its connection now and then, and reconnects."""

    persona = weights.PERSONAS["mobile"]


class Newcomer(ChatUser):
    """Registers its account when it starts."""

    persona = weights.PERSONAS["newcomer"]

    def arrive(self) -> accounts.UserAccount:
        """Register an account over REST and time it, including bcrypt. Raises RestError."""
        began = time.perf_counter()
        account = RUN.dialect.account(RUN.rest, accounts.new_name())
        if account.token:
            FIGURES.timing("POST", "/api/auth/register").add((time.perf_counter() - began) * 1000)
        return account


PERSONAS = (Talker, Reader, Lurker, Mobile, Newcomer)
