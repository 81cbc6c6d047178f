"""Chat users: a mind (weights.py), hands (the wire) and a memory (what they know of their room)."""

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
    """The user has ended the connection itself: what was not confirmed then has not failed."""


class ChatUser(SocketIOUser):
    """A user in a room. Subclasses are personas: they say which tasks they do how often."""

    abstract = True
    host = DEFAULT_HOST
    persona: weights.Persona

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
        """Get an account, connect, join the room."""
        if RUN.hopeless:
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
        """An account made beforehand; in a login storm its owner logs in with the password first."""
        account = RUN.accounts.of(self.number)
        if RUN.scenario.logs_in and account.token:
            credentials = {"username": account.username, "password": account.password}
            content = RUN.rest.timed("POST", "/api/auth/login", "/api/auth/login", credentials)
            if content is None:
                raise UserEnded
            account = accounts.registered(account.username, content)
        return account

    def join(self) -> bool:
        """Join the room; what was missed is replayed if this stay had begun already. False after a failure.

        A first join may be refused where others make the same room at that moment; it is then tried again.
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
        if not dialect.numbered:  # pushes may come before the history
            if not again:
                room: Any = RUN.ledger.room(self.room)
                self.member = Stay(room)
            self.member.visit()
        elif again:
            payload["since"] = self.member.next - 1
        self._answered_join.clear()
        begun = time.perf_counter()
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
            FIGURES.timing("load", dialect.history_event).add((self._history_at - begun) * 1000)
        if again and dialect.numbered:
            self.member.rejoined(bool(answer.get("complete", True)))
        return self.member is not None

    def _on_history(self, history: list[Any]) -> None:
        """With numbers the history comes before any live message, and the books are open when it is handled."""
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
        """Leave the room: its messages are no longer expected from here on."""
        self.in_room = False
        if self.member is not None:
            self.member.leave()
            self.member = None

    def connection_lost(self, error: ConnectionLost) -> None:
        """The connection has ended: nothing more comes over it, no echo either."""
        self.in_room = False
        if self.member is not None:
            self.member.disconnected()
        echoes, self._echoes = self._echoes, {}
        for _, then in echoes.values():
            then(error)

    def lost(self, cause: str) -> None:
        """The server dropped us."""
        super().lost(cause)
        self.connection_lost(ConnectionLost(cause))

    def reconnected(self) -> None:
        """Back after the server dropped us: the history fills the gap."""
        self.join()

    def on_stop(self) -> None:
        """At the end of the run stay connected, so that what is under way arrives; before it, leave."""
        if self in RUN.present:
            RUN.present.remove(self)
        if RUN.ending and self.io.connected and self.member is not None:
            RUN.lingering.append(self)
            return
        self.io.disconnect()
        self.connection_lost(Gone("disconnected"))
        self.leave()  # not before: what arrives in between is still its room's
        RUN.numbers.release(self.number)
        RUN.of_persona[self.persona.name].release(self._nth)

    # -- what comes in

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
        """Send one message and wait until it is confirmed; where that stores it once (contract §14.3), send it again
        after a lost connection."""
        if RUN.ending:  # a user who wakes while it is being stopped would be killed before the answer comes
            return
        dialect, way = RUN.dialect, RUN.dialect.confirmation
        if not dialect.numbered and not self._wait_until(lambda: self.in_room):
            return  # the connection was lost, which is counted
        at = now()
        room, token, text = self._message(at, at)
        answer = None
        try:
            for attempt in range(TRIES if dialect.resends else 1):
                try:
                    answer = self._confirmed(dialect, token, dialect.message(self.room, text, token))
                except ConnectionLost as error:
                    FIGURES.failure(way, dialect.send_event, error)
                    if attempt + 1 < TRIES and self._wait_until(lambda: self.io.connected):
                        continue
                except AckTimeout as error:
                    FIGURES.failure(way, dialect.send_event, error)
                break
        finally:  # also of a user who is killed, in the call or while it waits for a connection
            if answer is None:
                room.unconfirmed(token)
        if answer is not None:
            self._answered(room, text, at, at, answer)

    def _confirmed(self, dialect: Dialect, token: str, payload: object) -> Acknowledged:
        """Send, and wait for the acknowledgement or the echo. Raises AckTimeout or ConnectionLost."""
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
        """Send one message without waiting; it should have begun at ``intended``."""
        sent, dialect = now(), RUN.dialect
        RUN.watch.start_of_send((sent - intended) / 1e6)
        room, token, text = self._message(intended, sent)
        RUN.pending[token] = room

        def then(answer: Acknowledged | SocketIOError) -> None:
            if RUN.pending.pop(token, None) is None:  # given up at the end of the run
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
        way, event = RUN.dialect.confirmation, RUN.dialect.send_event
        if intended >= RUN.measure_from:
            waited = (now() - intended) / 1e6 if sent != intended else answer.ms
            FIGURES.timing(way, event).add(waited)
            if sent != intended:
                FIGURES.timing(way, f"{event} (service)").add(answer.ms)
        found = RUN.dialect.confirmed(answer.args[0] if answer.args else None)
        if isinstance(found, str):
            room.account.refused += 1
            FIGURES.only_failure(way, event, f"refused: {found}")
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
        """Type, and pause."""
        self._typing = not getattr(self, "_typing", False)
        RUN.count("typing")
        self.emit("typing", self._typing)

    @tag("read")
    def open_room(self) -> None:
        """The newest page of some room."""
        RUN.rest.timed("GET", f"/api/rooms/{self._some_room()}/messages?limit=100", "/api/rooms/:room/messages")

    @tag("read")
    def scroll_back(self) -> None:
        """An older page of one's own room."""
        offset = 100 * random.randint(1, 5)
        path = f"/api/rooms/{quote(self.room, safe='')}/messages?limit=100&offset={offset}"
        RUN.rest.timed("GET", path, "/api/rooms/:room/messages?offset")

    @tag("read")
    def list_rooms(self) -> None:
        """All rooms."""
        RUN.rest.timed("GET", "/api/rooms", "/api/rooms")

    @tag("read")
    def search_users(self) -> None:
        """A few letters of somebody's name."""
        RUN.rest.timed("GET", f"/api/users/search/load_{secrets.token_hex(1)}", "/api/users/search/:query")

    @tag("read")
    def open_profile(self) -> None:
        """Somebody's profile."""
        RUN.rest.timed("GET", f"/api/users/{RUN.accounts.some(random.getrandbits(30)).user_id}", "/api/users/:userId")

    @tag("read")
    def room_stats(self) -> None:
        """The counts of some room."""
        RUN.rest.timed("GET", f"/api/rooms/{self._some_room()}/stats", "/api/rooms/:room/stats")

    @tag("rooms")
    def change_room(self) -> None:
        """Leave, and join another room; where leaving is not confirmed, with a new connection."""
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
        """Vanish as a phone does, come back some seconds later, and get what was missed."""
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
        """Do nothing: who has no other task left still listens."""

    def look_on_untagged(self) -> None:
        """The same, for runs that exclude tags."""

    def wait_time(self) -> float:
        """Seconds to think: exponential; each activity is as frequent as its weight says, whatever tags leave out."""
        return random.expovariate(len(self.tasks) / (TASK_SCALE * RUN.interval))

    def _some_room(self) -> str:
        return RUN.room_of(random.randrange(max(1, RUN.users)))


def tasks_of(persona: weights.Persona) -> dict[Callable[..., None], int]:
    """A persona's activities as Locust tasks, ``TASK_SCALE`` for each message of the average user."""
    tasks = {
        getattr(ChatUser, activity.name): round(TASK_SCALE * activity.weight * weights.factor(persona, activity))
        for activity in weights.ACTIVITIES.values()
    }
    return {task: count for task, count in tasks.items() if count} | {
        ChatUser.look_on: 1,
        ChatUser.look_on_untagged: 1,
    }


class Talker(ChatUser):
    """Writes most of the messages."""

    persona = weights.PERSONAS["talker"]
    weight = persona.share
    tasks = tasks_of(persona)


class Reader(ChatUser):
    """Reads a lot, writes a little."""

    persona = weights.PERSONAS["reader"]
    weight = persona.share
    tasks = tasks_of(persona)


class Lurker(ChatUser):
    """Only reads."""

    persona = weights.PERSONAS["lurker"]
    weight = persona.share
    tasks = tasks_of(persona)


class Mobile(ChatUser):
    """Loses its connection now and then, and comes back."""

    persona = weights.PERSONAS["mobile"]
    weight = persona.share
    tasks = tasks_of(persona)


class Newcomer(ChatUser):
    """Makes its account when it starts."""

    persona = weights.PERSONAS["newcomer"]
    weight = persona.share
    tasks = tasks_of(persona)

    def arrive(self) -> accounts.UserAccount:
        """A new account by REST, timed: bcrypt is part of it. Raises RestError."""
        begun = time.perf_counter()
        account = RUN.dialect.account(RUN.rest, accounts.new_name())
        if account.token:
            FIGURES.timing("POST", "/api/auth/register").add((time.perf_counter() - begun) * 1000)
        return account


PERSONAS = (Talker, Reader, Lurker, Mobile, Newcomer)
