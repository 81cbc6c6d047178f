"""Rooms: the default ones, those made by joining or posting, and their counts."""

from __future__ import annotations

import msgspec
import pytest

from chatsys.errors import TooManyRooms
from chatsys.model.values import RoomStats

NOTHING = RoomStats(total_messages=0, unread_count=0, active_users=0)


async def listed(store, name: str):
    (room,) = [room for room in await store.rooms() if room.name == name]
    return room


async def test_default_rooms_exist_exactly_once(store):
    assert [room.name for room in await store.rooms()] == ["general", "random", "tech"]
    assert all(room.user_count == 0 for room in await store.rooms())


async def test_rooms_are_in_code_point_order(store, cast):
    ann = await cast.user("ann")
    for name in ("zoo", "Zoo", "_x", " lead", "ärger", "10", "9", "\U0001f600", "\uffee"):
        await cast.post(ann, name)
    names = [room.name for room in await store.rooms()]
    assert names == sorted(names)
    assert len(names) == 12


async def test_room_list_comes_in_pages(store, cast):
    for name in ("b", "a", "Z", "\u00e4"):
        await cast.post(cast.guest("gus"), name)

    async def page(*arguments) -> list[str]:
        return [room.name for room in await store.rooms(*arguments)]

    assert await page(3) == ["Z", "a", "b"]
    assert await page(3, "b") == ["general", "random", "tech"]
    assert await page(3, "tech") == ["\u00e4"]
    assert await page(3, "no such room") == ["random", "tech", "\u00e4"]
    assert await page(3, "\U0001f600") == await page(0) == []


async def test_joining_or_posting_creates_a_room_and_reading_does_not(store, cast):
    guest = cast.guest("gus")
    assert await store.room_stats("nowhere") == NOTHING
    assert await store.history("nowhere", 10) == []
    assert await store.messages_since("nowhere", 0, 10) == []
    assert await store.sessions("nowhere") == []
    assert list(await store.mark_all_read("nowhere", guest, cast.now())) == []
    assert len(await store.rooms()) == 3
    await cast.join(guest, "joined")
    await cast.post(guest, "posted")
    assert {"joined", "posted"} < {room.name for room in await store.rooms()}


async def test_room_names_are_kept_as_they_are(store, cast):
    for name in (" ", "a ", " a", "A", "a", "%", "'", "\\", "\n", "x" * 100, "\U0001f600" * 100, "a\u0301", "\u00e1"):
        session = await cast.join(cast.guest("gus"), name)
        assert session.room == name
        assert (await listed(store, name)).user_count == 1


async def test_users_and_guests_in_a_room_are_counted_once_each(store, cast):
    ann, gus = await cast.user("ann"), cast.guest("gus")
    first = await cast.join(ann, "tea")
    await cast.join(ann, "tea")
    await cast.join(gus, "tea")
    assert (await listed(store, "tea")).user_count == 2
    assert (await store.room_stats("tea")).active_users == 2
    await store.close_session(first.session_id, cast.now())
    assert (await listed(store, "tea")).user_count == 2


async def test_last_activity_is_the_newest_message_or_the_creation(store, cast):
    ann = await cast.user("ann")
    session = await cast.join(ann, "tea")
    assert (await listed(store, "tea")).last_activity == session.joined_at
    await cast.post(ann, "tea")
    newest = await cast.post(ann, "tea")
    assert (await listed(store, "tea")).last_activity == newest.at


async def test_empty_room_keeps_its_messages_and_stays_in_the_list(store, cast):
    session = await cast.join(cast.guest("gus"), "tea")
    await cast.post(session.who, "tea")
    await store.close_session(session.session_id, cast.now())
    assert (await listed(store, "tea")).user_count == 0
    assert (await store.room_stats("tea")).total_messages == 1


async def test_messages_are_counted_once_whatever_number_has_read_them(store, cast):
    ann = await cast.user("ann")
    readers = [await cast.user(f"reader{number}") for number in range(3)]
    read, delivered, _ = [await cast.post(ann, "tea") for _ in range(3)]
    for reader in readers:
        await store.mark_read("tea", read.message_id, reader, cast.now())
        await store.mark_delivered("tea", delivered.message_id, reader, cast.now())
    assert await store.room_stats("tea") == RoomStats(total_messages=3, unread_count=2, active_users=0)
    await store.mark_all_read("tea", readers[0], cast.now())
    assert await store.room_stats("tea") == RoomStats(total_messages=3, unread_count=0, active_users=0)


async def test_activity_counts_sessions_and_the_rooms_that_have_one(store, cast):
    assert await store.activity() == (0, 0)
    ann = await cast.user("ann")
    sessions = [await cast.join(ann, room) for room in ("tea", "tea", "cake")]
    await cast.post(ann, "empty")
    assert await store.activity() == (3, 2)
    for session in sessions[1:]:
        await store.close_session(session.session_id, cast.now())
    assert await store.activity() == (1, 1)


async def test_client_that_may_not_create_rooms_can_join_existing_ones(store, cast):
    gus = cast.guest("gus")
    made = await store.open_session(cast.entry(gus, "tea"))
    assert made.made_room
    barred = msgspec.structs.replace(cast.entry(gus, "cake"), may_make_room=False)
    with pytest.raises(TooManyRooms):
        await store.open_session(barred)
    assert [room.name for room in await store.rooms(9, "random")] == ["tea", "tech"]
    entered = await store.open_session(msgspec.structs.replace(barred, room="tea"))
    assert (entered.session.room, entered.made_room) == ("tea", False)
