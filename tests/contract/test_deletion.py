"""Deleting an account removes everything of that account and nothing of any other."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.errors import UserNotFound
from chatsys.model.snapshot import MessageRecord, UserRecord
from chatsys.model.values import RoomStats, UserChanges


@pytest.fixture
async def people(cast):
    return await cast.user("ann"), await cast.user("bob"), cast.guest("gus")


async def test_deleted_account_is_gone_everywhere_and_frees_its_name_and_email(store, cast, people):
    ann, bob, _ = people
    assert await store.delete_user(ann.user_id, cast.now()) == []
    assert await store.user_by_id(ann.user_id) is None
    assert await store.user_by_name("ann") is None
    assert await store.user_by_email("ann@example.org") is None
    assert [user.user_id for user in await store.list_users(10)] == [bob.user_id]
    assert await store.search_users("ann", 10) == []
    again = await store.create_user(cast.account("ann"))
    assert await store.user_by_name("ann") == again


async def test_second_deletion_finds_nothing(store, cast, people):
    assert await store.delete_user(people[0].user_id, cast.now()) == []
    assert await store.delete_user(people[0].user_id, cast.now()) is None


async def test_deletion_removes_messages_without_reusing_their_numbers(store, cast, people):
    ann, bob, gus = people
    for room in ("tea", "cake"):
        for who in (ann, bob, gus, ann):
            await cast.post(who, room)
    await store.delete_user(ann.user_id, cast.now())
    for room in ("tea", "cake"):
        assert [(each.seq, each.user_id) for each in await store.history(room, 10)] == [
            (2, bob.user_id),
            (3, gus.user_id),
        ]
        assert (await cast.post(bob, room)).seq == 5
        assert [each.seq for each in await store.messages_since(room, 1, 10)] == [2, 3, 5]
        assert [each.seq for each in await store.messages_since(room, 2, 10)] == [3, 5]
        assert [each.seq for each in await store.messages_since(room, 4, 10)] == [5]
        assert [each.seq for each in await store.history(room, 2, 1)] == [2, 3]


async def test_deletion_never_reuses_the_number_of_the_newest_message(store, cast, people):
    ann, bob, _ = people
    await cast.post(bob, "tea")
    await cast.post(ann, "tea")
    await store.delete_user(ann.user_id, cast.now())
    assert (await store.open_session(cast.entry(bob, "tea"))).last_seq == 2
    assert (await cast.post(bob, "tea")).seq == 3


async def test_deleted_messages_can_no_longer_be_acknowledged(store, cast, people):
    ann, bob, _ = people
    message = await cast.post(ann, "tea")
    await store.delete_user(ann.user_id, cast.now())
    assert await store.mark_read("tea", message.message_id, bob, cast.now()) is None
    assert list(await store.mark_all_read("tea", bob, cast.now())) == []


async def test_deletion_removes_the_receipts_of_the_account_and_keeps_others(store, cast, people):
    ann, bob, gus = people
    read, delivered = await cast.post(gus, "tea"), await cast.post(gus, "cake")
    for reader in (ann, bob):
        await store.mark_read("tea", read.message_id, reader, cast.now())
        await store.mark_delivered("cake", delivered.message_id, reader, cast.now())
    await store.delete_user(ann.user_id, cast.now())
    stored = await cast.message("tea", read.message_id)
    assert (stored.delivered_to, stored.read_by) == ((bob.user_id,), (bob.user_id,))
    stored = await cast.message("cake", delivered.message_id)
    assert (stored.delivered_to, stored.read_by) == ((bob.user_id,), ())


async def test_deletion_updates_the_counts_of_the_rooms(store, cast, people):
    ann, bob, gus = people
    by_ann, by_gus = await cast.post(ann, "tea"), await cast.post(gus, "tea")
    await store.mark_read("tea", by_gus.message_id, ann, cast.now())
    await store.mark_read("tea", by_ann.message_id, bob, cast.now())
    await cast.join(ann, "tea")
    assert await store.room_stats("tea") == RoomStats(total_messages=2, unread_count=0, active_users=1)
    await store.delete_user(ann.user_id, cast.now())
    assert await store.room_stats("tea") == RoomStats(total_messages=1, unread_count=1, active_users=0)
    (room,) = [room for room in await store.rooms() if room.name == "tea"]
    assert room.last_activity == by_gus.at


async def test_deletion_ends_the_sessions_everywhere_in_order_of_joining(store, cast, people):
    ann, bob, _ = people
    opened = [await cast.join(who, room) for who, room in ((ann, "tea"), (bob, "tea"), (ann, "cake"), (ann, "tea"))]
    moment = cast.now()
    ended = await store.delete_user(ann.user_id, moment)
    assert ended is not None
    assert [each.session.session_id for each in ended] == [
        opened[0].session_id,
        opened[2].session_id,
        opened[3].session_id,
    ]
    assert [(each.session.who, each.session.room) for each in ended] == [(ann, "tea"), (ann, "cake"), (ann, "tea")]
    assert all(each.last and each.at == moment for each in ended)
    assert [each.session_id for each in await store.sessions("tea")] == [opened[1].session_id]
    assert await store.activity() == (1, 1)
    assert await store.close_session(opened[0].session_id, cast.now()) is None


async def test_deletion_frees_client_message_ids_for_a_new_account_of_that_name(store, cast, people):
    await cast.post(people[0], "tea", "one", "id-1")
    await store.delete_user(people[0].user_id, cast.now())
    ann = await cast.user("ann")
    posted = await store.post_message(cast.new_message(ann, "tea", "two", "id-1"))
    assert (posted.duplicate, posted.message.seq) == (False, 2)


async def test_new_account_of_a_deleted_name_has_read_nothing(store, cast, people):
    ann, bob, _ = people
    message = await cast.post(bob, "tea")
    await store.mark_all_read("tea", ann, cast.now())
    await store.delete_user(ann.user_id, cast.now())
    successor = await cast.user("ann")
    assert list(await store.mark_all_read("tea", successor, cast.now())) == [message.message_id]


async def test_room_whose_only_writer_is_deleted_remains_without_messages(store, cast, people):
    opened = await cast.join(people[0], "tea")
    await cast.post(people[0], "tea")
    await store.delete_user(people[0].user_id, cast.now())
    (room,) = [room for room in await store.rooms() if room.name == "tea"]
    assert (room.user_count, room.last_activity) == (0, opened.joined_at)
    assert await store.history("tea", 10) == []
    assert await store.room_stats("tea") == RoomStats(total_messages=0, unread_count=0, active_users=0)


async def test_retired_account_is_invisible_while_its_data_are_deleted_in_parts(store, cast, people):
    ann, bob, _ = people
    await asyncio.gather(*[store.post_message(cast.new_message(ann, "tea")) for _ in range(250)])
    by_bob = await cast.post(bob, "tea")
    await store.mark_read("tea", by_bob.message_id, ann, cast.now())
    session = await cast.join(ann, "tea")
    ended = await store.retire_user(ann.user_id, cast.now())
    assert [each.session.session_id for each in ended] == [session.session_id]
    assert await store.user_by_id(ann.user_id) is None
    assert [user.user_id for user in await store.list_users(10)] == [bob.user_id]
    assert await store.search_users("ann", 10) == await store.search_users("removed", 10) == []
    for verb in (store.open_session(cast.entry(ann, "tea")), store.post_message(cast.new_message(ann, "tea"))):
        with pytest.raises(UserNotFound):
            await verb
    assert await store.mark_read("tea", by_bob.message_id, ann, cast.now()) is None
    assert await store.update_user(ann.user_id, UserChanges(bio="x")) is None
    assert await store.record_login(ann.user_id, cast.now()) is None
    assert await store.set_online(ann.user_id, True, cast.now()) is None
    successor = await cast.user("ann")
    parts = 1
    while await store.purge_user(ann.user_id):
        assert (await cast.post(bob, "tea")).seq == 251 + parts
        parts += 1
    assert parts > 1
    left = await store.history("tea", 1000)
    assert {message.user_id for message in left} == {bob.user_id}
    assert left[0].read_by == ()
    assert await store.room_stats("tea") == RoomStats(total_messages=parts, unread_count=parts, active_users=0)
    assert (await store.user_by_name("ann")).user_id == successor.user_id
    assert await store.retire_user(ann.user_id, cast.now()) is None
    assert not await store.purge_user(ann.user_id)


async def test_mixed_batch_stores_nothing_of_a_retired_account(store, cast, people):
    ann, bob, gus = people
    await cast.post(bob, "tea")
    await store.retire_user(ann.user_id, cast.now())
    posts = [store.post_message(cast.new_message(who, "tea")) for who in (bob, ann, gus, ann, bob)]
    outcomes = await asyncio.gather(*posts, return_exceptions=True)
    assert [type(each).__name__ for each in outcomes] == ["Posted", "UserNotFound", "Posted", "UserNotFound", "Posted"]
    assert [message.seq for message in await store.history("tea", 10)] == [1, 2, 3, 4]


async def test_interrupted_deletion_is_found_and_finished(store, cast, people):
    ann, bob, _ = people
    for who in (ann, bob):
        await cast.post(who, "tea")
    moment = cast.now()
    await store.retire_user(ann.user_id, moment)
    assert await store.retire_user(ann.user_id, cast.now()) == []
    assert await store.removed_users(moment) == []
    assert await store.removed_users(cast.now()) == [ann.user_id]
    assert await store.delete_user(ann.user_id, cast.now()) == []
    assert await store.removed_users(cast.now()) == []
    assert [message.user_id for message in await store.history("tea", 10)] == [bob.user_id]


async def test_snapshot_omits_an_account_that_is_being_deleted(store, cast, people):
    ann, bob, _ = people
    for who in (ann, bob):
        message = await cast.post(who, "tea")
    await store.mark_read("tea", message.message_id, ann, cast.now())
    await store.retire_user(ann.user_id, cast.now())
    found = [record async for batch in store.snapshot() for record in batch]
    assert [record.user_id for record in found if isinstance(record, UserRecord)] == [bob.user_id]
    (kept,) = [record for record in found if isinstance(record, MessageRecord)]
    assert (kept.user_id, kept.deliveries, kept.reads) == (bob.user_id, {}, {})
