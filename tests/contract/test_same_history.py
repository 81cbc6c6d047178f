"""Both stores get the same random history and must give equal answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import uuid_utils
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from chatsys.errors import ChatsysError
from chatsys.model.rules import default_avatar
from chatsys.model.values import NewMessage, NewSession, Participant, User, UserChanges
from chatsys.store.contract import Store
from chatsys.store.opening import open_store

NAMES = ["ann", "Ann", "bob", "b_b", "b%b", "ÄNN", "ärn", "_"]
GUESTS = ["guest-1", "guest-2"]
ROOMS = ["tea", "Tea", "t'a"]
TEXTS = ["hello", " ", "it's 100% \\ _", "\U0001f600"]

names = st.sampled_from(NAMES)
rooms = st.sampled_from(ROOMS)
positions = st.integers(0, 7)
"""The index of an existing object, taken modulo their number."""


def new_id() -> str:
    return str(uuid_utils.uuid7())


def plain(answer: object) -> object:
    """Return an answer whose receipts are sets, since they have no defined order."""
    if isinstance(answer, list | tuple):
        return [plain(each) for each in answer]
    if isinstance(answer, msgspec.Struct):
        fields = {name: plain(value) for name, value in msgspec.structs.asdict(answer).items()}
        fields.pop("epoch", None)  # each store has its own epoch
        fields.pop("servers", None)  # a store in memory has one server, and no other to notify
        for name in {"delivered_to", "read_by", "user_ids"} & fields.keys():
            assert len(fields[name]) == len(set(fields[name])), f"{name} names somebody twice"
            fields[name] = frozenset(fields[name])
        return fields
    return answer


def history_machine(stores: list[Store], run: Callable[[Awaitable[list[object]]], list[object]]) -> type:
    """Make a state machine over open stores. Each history has its own rooms and deletes its users at the end."""

    class History(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.moment = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
            self.prefix = new_id()[-12:]
            self.server_ids = [new_id(), new_id()]
            self.users: list[User] = []
            self.sessions: list[NewSession] = []
            self.messages: list[NewMessage] = []
            for server_id in self.server_ids:
                self.ask("register_server", server_id, self.now())

        def ask(self, verb: str, *arguments: object) -> object:
            """Call the verb on both stores, check that the answers are equal, and return the last one."""

            async def both() -> list[object]:
                return [await outcome(getattr(store, verb), arguments) for store in stores]

            answers = run(both())
            first, *others = [plain(answer) for answer in answers]
            for other in others:
                assert other == first, f"{verb}{arguments}: the stores do not agree"
            return answers[0]

        def now(self) -> datetime:
            self.moment += timedelta(milliseconds=1)
            return self.moment

        def room(self, name: str) -> str:
            return f"{self.prefix} {name}"

        def person(self, position: int) -> Participant:
            """Choose a user, an earlier user, or a guest."""
            if position % 4 == 3 or not self.users:
                return guest(GUESTS[position % 2])
            user = self.users[position % len(self.users)]
            return Participant(
                user_id=user.user_id, username=user.username, display_name=user.display_name, avatar=user.avatar
            )

        # -- users

        @rule(name=names, email=names)
        def create_user(self, name: str, email: str) -> None:
            user = User(
                user_id=new_id(),
                username=name,
                email=f"{email}@example.org".lower(),
                password_hash="$2b$10$x",
                display_name=name,
                avatar=default_avatar(name),
                bio="",
                online=False,
                last_seen=None,
                created_at=self.now(),
                last_login=None,
            )
            self.users.append(user)
            self.ask("create_user", user)

        @rule(name=names, text=names, limit=st.integers(0, 4))
        def find_users(self, name: str, text: str, limit: int) -> None:
            self.ask("user_by_name", name)
            self.ask("user_by_email", f"{name}@Example.org")
            self.ask("list_users", limit)
            self.ask("search_users", text, limit)

        @precondition(lambda self: self.users)
        @rule(who=positions, name=st.none() | names, bio=st.none() | st.sampled_from(TEXTS))
        def change_user(self, who: int, name: str | None, bio: str | None) -> None:
            user_id = self.users[who % len(self.users)].user_id
            self.ask("update_user", user_id, UserChanges(display_name=name, bio=bio))
            self.ask("record_login", user_id, self.now())

        @precondition(lambda self: self.users)
        @rule(who=positions, online=st.booleans())
        def set_online(self, who: int, online: bool) -> None:
            self.ask("set_online", self.users[who % len(self.users)].user_id, online, self.now())

        @precondition(lambda self: self.users)
        @rule(who=positions)
        def delete_user(self, who: int) -> None:
            user_id = self.users[who % len(self.users)].user_id
            self.ask("delete_user", user_id, self.now())
            self.sessions = [each for each in self.sessions if each.who.user_id != user_id]

        # -- sessions

        @rule(who=positions, name=rooms, server=st.integers(0, 1))
        def open_session(self, who: int, name: str, server: int) -> None:
            session = NewSession(
                session_id=new_id(),
                socket_id=new_id(),
                room=self.room(name),
                who=self.person(who),
                at=self.now(),
                server_id=self.server_ids[server],
            )
            if not isinstance(self.ask("open_session", session), type):
                self.sessions.append(session)

        @precondition(lambda self: self.sessions)
        @rule(which=positions)
        def join_again(self, which: int) -> None:
            session = self.sessions[which % len(self.sessions)]
            self.ask("open_session", msgspec.structs.replace(session, session_id=new_id(), at=self.now()))

        @precondition(lambda self: self.sessions)
        @rule(which=positions)
        def close_session(self, which: int) -> None:
            session = self.sessions.pop(which % len(self.sessions))
            self.ask("close_session", session.session_id, self.now())
            self.ask("close_session", session.session_id, self.now())

        @rule(server=st.integers(0, 1))
        def restart_server(self, server: int) -> None:
            self.ask("retire_server", self.server_ids[server], self.now())
            self.ask("register_server", self.server_ids[server], self.now())
            self.sessions = [each for each in self.sessions if each.server_id != self.server_ids[server]]

        # -- messages

        @rule(who=positions, name=rooms, text=st.sampled_from(TEXTS), client_id=st.none() | st.sampled_from("abc"))
        def post_message(self, who: int, name: str, text: str, client_id: str | None) -> None:
            message = NewMessage(
                message_id=new_id(),
                room=self.room(name),
                who=self.person(who),
                text=text,
                at=self.now(),
                client_message_id=client_id,
            )
            self.messages.append(message)
            self.ask("post_message", message)

        @precondition(lambda self: self.messages)
        @rule(
            verb=st.sampled_from(["mark_delivered", "mark_read"]),
            which=positions,
            who=positions,
            elsewhere=st.sampled_from([False, False, False, True]),
        )
        def acknowledge(self, verb: str, which: int, who: int, elsewhere: bool) -> None:
            message = self.messages[-1 - which % len(self.messages)]
            room = self.room("other") if elsewhere else message.room
            self.ask(verb, room, message.message_id, self.person(who), self.now())

        @rule(who=positions, name=rooms)
        def mark_all_read(self, who: int, name: str) -> None:
            self.ask("mark_all_read", self.room(name), self.person(who), self.now())

        # -- reading

        @rule(name=rooms, limit=st.sampled_from([*range(6), 100]), offset=st.integers(0, 5))
        def look_around(self, name: str, limit: int, offset: int) -> None:
            room = self.room(name)
            self.ask("history", room, limit, offset)
            self.ask("messages_since", room, offset, limit)
            self.ask("room_stats", room)
            self.ask("sessions", room)
            self.ask("activity")

        def teardown(self) -> None:
            for name in ROOMS:
                self.ask("history", self.room(name), 1000)
                self.ask("sessions", self.room(name))
            self.compare_rooms()
            for server_id in self.server_ids:
                self.ask("retire_server", server_id, self.now())
            self.ask("list_users", 1000)
            for user in self.users:
                self.ask("delete_user", user.user_id, self.now())
            self.compare_rooms()
            assert self.ask("list_users", 1) == []
            assert self.ask("activity") == (0, 0)

        def compare_rooms(self) -> None:
            async def both() -> list[object]:
                lists = [await store.rooms() for store in stores]
                return [[room for room in rooms if room.name.startswith(self.prefix)] for rooms in lists]

            first, *others = run(both())
            for other in others:
                assert other == first

    return History


async def outcome(verb: Callable[..., Awaitable[object]], arguments: tuple[object, ...]) -> object:
    """Return a verb's result, or the class of the error it raises."""
    try:
        return await verb(*arguments)
    except ChatsysError as error:
        return type(error)


def guest(guest_id: str) -> Participant:
    return Participant(user_id=guest_id, username="Gus", display_name="Gus", avatar=default_avatar("Gus"), guest=True)


def test_stores_give_equal_answers_to_the_same_random_history(postgres_url):
    with asyncio.Runner() as runner:
        contexts = [open_store("memory://"), open_store(postgres_url)]
        stores = [runner.run(context.__aenter__()) for context in contexts]
        try:
            run_state_machine_as_test(
                history_machine(stores, runner.run),
                settings=settings(
                    max_examples=60,
                    stateful_step_count=40,
                    derandomize=True,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            for context in reversed(contexts):
                runner.run(context.__aexit__(None, None, None))
