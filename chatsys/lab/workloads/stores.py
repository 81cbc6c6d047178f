"""The operations on a store of chatsys, which is opened as in the server."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime

from chatsys.chat.bundle import new_id
from chatsys.lab.datasets.synthetic import MARKED, Synthetic
from chatsys.lab.workloads.operation import NOOP, PAGE, Operation, demand, noop
from chatsys.model.rules import milliseconds
from chatsys.model.values import Message, NewMessage, Participant, Posted, Receipt, User
from chatsys.results.names import FIND_BY_ID, FIND_BY_NAME, MARK_READ, RECENT, SEARCH, SEND
from chatsys.store.contract import Store

SEND_ROOM = "lab sends"
_SEARCH_LIMIT = 50


def operations(store: Store, rows: Synthetic) -> Mapping[str, Operation]:
    """Every operation of the table on ``store``, which holds ``rows``."""
    return {
        NOOP: noop(),
        FIND_BY_ID: _find_by_id(store, rows),
        FIND_BY_NAME: _find_by_name(store, rows),
        RECENT: _recent(store, rows),
        MARK_READ: _mark_read(store, rows),
        SEARCH: _search(store, rows),
        SEND: _send(store, rows),
    }


def _find_by_id(store: Store, rows: Synthetic) -> Operation:
    def check(user_id: str, user: User | None) -> None:
        demand(user is not None and user.user_id == user_id, f"user {user_id}")

    return Operation(lambda rng: rows.user_id(rng.randrange(rows.users)), store.user_by_id, check)


def _find_by_name(store: Store, rows: Synthetic) -> Operation:
    def check(name: str, user: User | None) -> None:
        demand(user is not None and user.username == name, f"user {name}")

    return Operation(lambda rng: rows.username(rng.randrange(rows.users)), store.user_by_name, check)


def _search(store: Store, rows: Synthetic) -> Operation:
    async def call(text: str) -> list[User]:
        return await store.search_users(text, _SEARCH_LIMIT)

    def check(text: str, users: list[User]) -> None:
        demand(bool(users) and all(text in user.username for user in users), f"users with {text}")

    return Operation(lambda rng: rows.search_text(rng.randrange(rows.users)), call, check)


def _recent(store: Store, rows: Synthetic) -> Operation:
    expected = {rows.rooms[number]: set(map(rows.message_id, rows.newest(number, PAGE))) for number in rows.read_rooms}
    rooms = list(expected)

    async def call(room: str) -> list[Message]:
        return await store.history(room, PAGE)

    def check(room: str, page: list[Message]) -> None:
        demand({message.message_id for message in page} == expected[room], f"the newest messages of {room}")
        demand(all(message.read_by for message in page), "the receipts of each message")

    return Operation(lambda rng: rng.choice(rooms), call, check)


def _mark_read(store: Store, rows: Synthetic) -> Operation:
    """Each call is a first read: each pair of a reader and a message is drawn once."""
    number = rows.marked_rooms[0]
    room, pairs = rows.rooms[number], rows.unread(number)
    marked: dict[str, set[str]] = {}

    async def call(pair: tuple[str, Participant, datetime]) -> Receipt | None:
        return await store.mark_read(room, pair[0], pair[1], pair[2])

    def check(pair: tuple[str, Participant, datetime], receipt: Receipt | None) -> None:
        demand(receipt is not None and pair[1].user_id in receipt.user_ids, "the reader in the receipt")
        marked.setdefault(pair[0], set()).add(pair[1].user_id)

    async def audit() -> None:
        stored = {message.message_id: set(message.read_by) for message in await store.history(room, MARKED)}
        demand(all(readers <= stored[message] for message, readers in marked.items()), "each read in the store")
        marked.clear()

    def draw(_: random.Random) -> tuple[str, Participant, datetime]:
        message, reader = next(pairs)
        return rows.message_id(message), rows.participant(reader), _now()

    return Operation(draw, call, check, audit)


def _send(store: Store, rows: Synthetic) -> Operation:
    people = [rows.participant(index) for index in range(min(rows.users, 100))]
    sent: dict[int, str] = {}

    async def call(new: NewMessage) -> Posted:
        return await store.post_message(new)

    def check(new: NewMessage, posted: Posted) -> None:
        demand(posted.message.message_id == new.message_id and not posted.duplicate, "the message as it was sent")
        sent[posted.message.seq] = new.message_id

    async def audit() -> None:
        if not sent:
            return
        demand(sorted(sent) == list(range(min(sent), max(sent) + 1)), "sequence numbers without a gap")
        stored = await store.messages_since(SEND_ROOM, min(sent) - 1, len(sent))
        demand({message.seq: message.message_id for message in stored} == sent, "each message in the store")
        sent.clear()

    def draw(rng: random.Random) -> NewMessage:
        who = rng.choice(people)
        return NewMessage(message_id=new_id(), room=SEND_ROOM, who=who, text="sent by the lab", at=_now())

    return Operation(draw, call, check, audit)


def _now() -> datetime:
    return milliseconds(datetime.now(UTC))
