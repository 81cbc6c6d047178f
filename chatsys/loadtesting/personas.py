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
from gevent.event import Event
from locust import tag
from locust.env import Environment

from chatsys.loadtesting import accounts, weights
from chatsys.loadtesting.client import Acknowledged, AckTimeout, ConnectFailed, ConnectionLost, SocketIOError
from chatsys.loadtesting.rest import RestError
from chatsys.loadtesting.run import RUN
from chatsys.loadtesting.socketio_user import FIGURES, SocketIOUser, UserEnded
from chatsys.results.ledger import Member
from chatsys.results.stamps import HOST, now, text_of

DEFAULT_HOST = "http://127.0.0.1:3001"
TASK_SCALE = 1000
TRIES = 3


class Push(msgspec.Struct, gc=False):
    """What a user needs of a ``receive-message`` (contract §7, §14.2)."""

    id: str
    seq: int
    message: str
    userId: str  # noqa: N815


class Refusal(msgspec.Struct):
    """The server's ``error`` event."""

    message: str


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
        self.member: Member | None = None
        self.account: accounts.Account | None = None
        self.room = ""
        self.sends_receipts = random.Random(f"{RUN.seed}/receipts/{self.index}").random() < RUN.receipts
        self._history: list[Push] | None = None
        self._history_came = Event()
        self._push = FIGURES.timing("push", f"receive-message {self.persona.name}")
        self._push_service = FIGURES.timing("push", f"receive-message {self.persona.name} (service)")
        self.io.on("receive-message", self._on_message, Push)
        self.io.on("message-history", self._on_history, list[Push])
        self.io.on("error", self._on_error, Refusal)

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
        self.room = weights.room_of(
            self.index, users=RUN.users, mean_size=RUN.room_size, sizes=RUN.room_sizes, seed=RUN.seed
        )
        self.connect()
        if not self.join():
            self.io.disconnect()
            raise UserEnded
        RUN.present.append(self)

    def arrive(self) -> accounts.Account:
        """An account made beforehand; in a login storm its owner logs in with the password first."""
        account = RUN.accounts.of(self.number)
        if RUN.storm:
            credentials = {"username": account.username, "password": account.password}
            content = RUN.rest.timed("POST", "/api/auth/login", "/api/auth/login", credentials)
            if content is None:
                raise UserEnded
            account = accounts.registered(account.username, content)
        return account

    def join(self) -> bool:
        """Join the room; with replay if this stay had begun already. False after a failure."""
        payload: dict[str, object] = {"room": self.room, "username": self.account.username, "token": self.account.token}
        again = self.member is not None
        if again:
            payload["since"] = self.member.next - 1
        self._history = None
        self._history_came.clear()
        begun = time.perf_counter()
        answer = self.call("join", payload)
        if answer is None:
            return False
        if not answer.get("success") or answer.get("userId") != self.account.user_id:
            FIGURES.only_failure("ack", "join", f"not joined as the account's user: {answer}")
            return False
        if not self._history_came.wait(self.timeout):
            FIGURES.failure("load", "message-history", "no history after join")
            return False
        FIGURES.timing("load", "message-history").add((self._history_at - begun) * 1000)
        self._enter(again, answer)
        return True

    def _enter(self, again: bool, answer: dict[str, Any]) -> None:
        if again:
            self.member.rejoined(bool(answer.get("complete", True)))

    def _on_history(self, history: list[Push]) -> None:
        """The history comes before any live message: the books must be open when it is handled, not later."""
        self._history_at = time.perf_counter()
        if self.member is None:
            self.member = Member(RUN.ledger.room(self.room))
            self.member.begin(history[-1].seq if history else 0)
        else:
            self.member.replay([(push.seq, push.id, push.message) for push in history])
        self._history_came.set()

    def leave(self) -> None:
        """Leave the room: its messages are no longer expected from here on."""
        if self.member is not None:
            self.member.leave()
            self.member = None

    def reconnected(self) -> None:
        """Back after the server dropped us: the replay fills the gap."""
        self.join()

    def on_stop(self) -> None:
        """At the end of the run stay connected, so that what is under way arrives; before it, leave."""
        if self in RUN.present:
            RUN.present.remove(self)
        if RUN.ending and self.io.connected and self.member is not None:
            RUN.lingering.append(self)
            return
        self.io.disconnect()
        self.leave()  # not before: what arrives in between is still its room's
        RUN.numbers.release(self.number)
        RUN.of_persona[self.persona.name].release(self._nth)

    # -- what comes in

    def _on_message(self, push: Push) -> None:
        at = now()
        if self.member is None:
            FIGURES.failure("push", "receive-message", "a message of a room that this user is not in")
            return
        stamp = self.member.receive(push.seq, push.id, push.message)
        if stamp.intended >= RUN.measure_from and stamp.host == HOST:
            self._push.add((at - stamp.intended) / 1e6)
            if stamp.sent != stamp.intended:
                self._push_service.add((at - stamp.sent) / 1e6)
        elif stamp.host and stamp.host != HOST:
            RUN.elsewhere += 1
        if self.sends_receipts and push.userId != self.account.user_id and not RUN.ending:
            receipt = {"messageId": push.id, "room": self.room}
            for event in ("message-delivered", "message-read"):
                RUN.count(event)
                self.emit(event, receipt)

    def _on_error(self, refusal: Refusal) -> None:
        FIGURES.failure("push", "error", refusal.message)

    # -- sending

    @tag("send")
    def send(self) -> None:
        """Send one message and wait for its acknowledgement; after a lost connection send it again (contract §14.3)."""
        at = now()
        room, token, payload = self._message(at, at)
        answer = None
        try:
            for attempt in range(TRIES):
                try:
                    answer = self.io.call("send-message", payload)
                except ConnectionLost as error:
                    FIGURES.failure("ack", "send-message", error)
                    if attempt + 1 < TRIES and self._wait_for_connection():
                        continue
                except AckTimeout as error:
                    FIGURES.failure("ack", "send-message", error)
                break
        finally:  # also of a user who is killed, in the call or while it waits for a connection
            if answer is None:
                room.unconfirmed(token)
        if answer is not None:
            self._answered(room, payload["message"], at, at, answer)

    def send_openly(self, intended: int) -> None:
        """Send one message without waiting; it should have begun at ``intended``."""
        sent = now()
        RUN.watch.start_of_send((sent - intended) / 1e6)
        room, token, payload = self._message(intended, sent)
        RUN.pending[token] = room

        def then(answer: Acknowledged | SocketIOError) -> None:
            if RUN.pending.pop(token, None) is None:  # given up at the end of the run
                return
            if isinstance(answer, Acknowledged):
                self._answered(room, payload["message"], intended, sent, answer)
            else:
                FIGURES.failure("ack", "send-message", answer)
                room.unconfirmed(token)

        try:
            self.io.emit("send-message", payload, then=then)
        except ConnectionLost as error:
            then(error)

    def _message(self, intended: int, sent: int) -> tuple[Any, str, dict[str, str]]:
        room, token = self.member.room, RUN.ledger.token()
        room.account.sent += 1
        text = text_of(RUN.ledger.run, token, intended, sent)
        return room, token, {"message": text, "clientMessageId": token}

    def _answered(self, room: Any, text: str, intended: int, sent: int, answer: Acknowledged) -> None:
        if intended >= RUN.measure_from:
            waited = (now() - intended) / 1e6 if sent != intended else answer.ms
            FIGURES.timing("ack", "send-message").add(waited)
            if sent != intended:
                FIGURES.timing("ack", "send-message (service)").add(answer.ms)
        (content,) = answer.args
        if content.get("success"):
            room.acknowledged(text, content["seq"], content["id"])
        else:
            room.account.refused += 1
            FIGURES.only_failure("ack", "send-message", f"refused: {content.get('code')} {content.get('message')}")

    def _wait_for_connection(self) -> bool:
        deadline = time.monotonic() + self.timeout
        while not self.io.connected and time.monotonic() < deadline:
            gevent.sleep(0.1)
        return self.io.connected

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
        """Leave, and join another room."""
        self.call("leave-room")
        self.leave()
        other = random.randrange(max(1, RUN.users))
        self.room = weights.room_of(
            other, users=RUN.users, mean_size=RUN.room_size, sizes=RUN.room_sizes, seed=RUN.seed
        )
        if not self.join():
            raise UserEnded

    @tag("reconnect")
    def reconnect(self) -> None:
        """Vanish as a phone does, come back some seconds later, and get what was missed."""
        self.io.vanish()
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
        return f"load-{random.randrange(max(1, RUN.users // RUN.room_size))}"


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

    def arrive(self) -> accounts.Account:
        """A new account by REST, timed: bcrypt is part of it."""
        username = f"new_{secrets.token_hex(8)}"
        content = RUN.rest.timed("POST", "/api/auth/register", "/api/auth/register", accounts.fields(username))
        if content is None:
            raise UserEnded
        return accounts.registered(username, content)


PERSONAS = (Talker, Reader, Lurker, Mobile, Newcomer)
