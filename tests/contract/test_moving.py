"""Either kind of store restores a snapshot of the other: nothing is lost, nothing is duplicated."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from chatsys.errors import SnapshotConflict
from chatsys.model.rules import DEFAULT_ROOMS
from chatsys.model.snapshot import MessageRecord, RoomRecord, UserRecord
from chatsys.store.opening import open_store

TEXTS = [" it's 100% \\ _ ", "\U0001f600\n\u2028\ufeff", "x" * 100_000, "\x01\x7f"]


async def records(store) -> list[UserRecord | RoomRecord | MessageRecord]:
    return [record async for batch in store.snapshot() for record in batch]


async def batches(store) -> list[list[UserRecord | RoomRecord | MessageRecord]]:
    return [list(batch) async for batch in store.snapshot()]


@pytest.fixture
async def used_store(store, cast):
    """The store after some chat: users, guests, receipts, a deleted user, a repeated message, an open session."""
    people = [await cast.user(name, display_name=f"{name} \u00e4", bio="'") for name in ("ann", "Bob", "cat")]
    people.append(cast.guest("gus"))
    for number, text in enumerate(TEXTS * 4):
        await cast.post(people[number % 4], f"room {number % 3}", text, f"id-{number}" if number % 2 else None)
    await store.mark_all_read("room 0", people[0], cast.now())
    await store.mark_all_read("room 0", people[3], cast.now())
    for message in (await store.history("room 1", 3)) + (await store.history("room 0", 2)):
        await store.mark_delivered(message.room, message.message_id, people[1], cast.now())
    await store.delete_user(people[2].user_id, cast.now())
    await store.record_login(people[0].user_id, cast.now())
    await cast.join(people[0], "room 2")
    return store


@pytest.fixture
async def empty_stores(postgres15_url):
    """Empty stores of both kinds, to restore into."""
    async with open_store("memory://") as memory, open_store(postgres15_url) as postgres:
        yield [memory, postgres]


async def test_snapshot_is_ordered_and_refers_only_to_earlier_records(used_store):
    seen: set[str] = set()
    keys = []
    for record in await records(used_store):
        match record:
            case UserRecord():
                keys.append((0, record.user_id, 0))
                seen.add(record.user_id)
            case RoomRecord():
                keys.append((1, record.name, 0))
                seen.add(record.name)
            case MessageRecord():
                keys.append((2, record.room, record.seq))
                guests = {who for who in (record.user_id, *record.deliveries) if who.startswith("guest-")}
                assert {record.room, record.user_id, *record.deliveries, *record.reads} - guests <= seen
                assert list(record.deliveries) == sorted(record.deliveries)
                assert list(record.reads) == sorted(record.reads)
    assert keys == sorted(keys)


async def test_batches_are_of_one_kind_and_never_empty(used_store):
    for batch in await batches(used_store):
        assert len({type(record) for record in batch}) == 1


async def test_both_kinds_of_store_restore_a_snapshot_exactly(used_store, empty_stores):
    expected = await records(used_store)
    for target in empty_stores:
        added = [await target.restore(batch) for batch in await batches(used_store)]
        assert sum(added) == len(expected) - len(DEFAULT_ROOMS)
        assert await records(target) == expected


async def test_changes_after_the_first_batch_leave_the_snapshot_consistent(used_store, empty_stores, cast):
    before = await records(used_store)
    snapshot = used_store.snapshot()
    moved = [await anext(snapshot)]
    ann = await used_store.user_by_name("ann")
    zoe = await cast.user("zoe")
    for message in await used_store.history("room 1", 3):
        await used_store.mark_read("room 1", message.message_id, zoe, cast.now())
    await cast.post(zoe, "room 1")
    await used_store.delete_user(ann.user_id, cast.now())
    moved += [batch async for batch in snapshot]
    assert [key(record) for batch in moved for record in batch] == [key(record) for record in before]
    for target in empty_stores:
        for batch in moved:
            await target.restore(batch)


def key(record) -> tuple[object, ...]:
    return type(record), getattr(record, "message_id", None) or getattr(record, "user_id", None) or record.name


async def test_restoring_twice_or_from_the_middle_duplicates_nothing(used_store, empty_stores):
    moved = await batches(used_store)
    for target in empty_stores:
        for batch in moved[:-1]:
            await target.restore(batch)
        last = moved[-1]
        assert await target.restore(last[: len(last) // 2]) == len(last) // 2
        again = [await target.restore(batch) for batch in moved]
        assert again == [0] * (len(moved) - 1) + [len(last) - len(last) // 2]
        assert await records(target) == await records(used_store)


async def test_restored_store_answers_every_query_as_before(used_store, empty_stores):
    users = await used_store.list_users(10)
    for target in empty_stores:
        for batch in await batches(used_store):
            await target.restore(batch)
        assert [user.user_id for user in await target.list_users(10)] == [user.user_id for user in users]
        assert await target.search_users("\u00c4", 10) == [
            msgspec.structs.replace(user, online=False) for user in await used_store.search_users("\u00e4", 10)
        ]
        for number in range(3):
            name = f"room {number}"
            assert same(await target.history(name, 100)) == same(await used_store.history(name, 100))
            assert (await target.room_stats(name)).unread_count == (await used_store.room_stats(name)).unread_count


def same(messages) -> list[object]:
    return [
        msgspec.structs.replace(each, delivered_to=sorted(each.delivered_to), read_by=sorted(each.read_by))
        for each in messages
    ]


async def test_restored_store_continues_numbering_and_knows_the_client_ids(used_store, empty_stores, cast):
    ann = await used_store.user_by_name("ann")
    who = msgspec.structs.replace(cast.guest("x"), user_id=ann.user_id, guest=False)
    gus = cast.guest("gus")
    numbers = {record.name: record.last_seq for record in await records(used_store) if isinstance(record, RoomRecord)}
    for target in empty_stores:
        for batch in await batches(used_store):
            await target.restore(batch)
        assert (await target.post_message(cast.new_message(gus, "room 1"))).message.seq == numbers["room 1"] + 1
        for sender, room, client_id in ((gus, "room 0", "id-3"), (who, "elsewhere", "id-none")):
            posted = await target.post_message(cast.new_message(sender, room, "again", client_id))
            assert posted.duplicate == (client_id == "id-3")


async def test_store_that_is_in_use_can_restore_a_snapshot(used_store, empty_stores, cast):
    ann = await used_store.user_by_name("ann")
    reader = msgspec.structs.replace(cast.guest("x"), user_id=ann.user_id, guest=False)
    moved = await batches(used_store)
    before = await used_store.history("room 1", 100)
    unread = [each.message_id for each in before if ann.user_id not in {each.user_id, *each.read_by}]
    for target in empty_stores:
        for batch in moved[:2]:
            await target.restore(batch)
        await target.register_server(cast.server_id, cast.now())
        await target.open_session(cast.entry(reader, "room 1"))
        live = (await target.post_message(cast.new_message(cast.guest("gus"), "room 1"))).message
        assert list(await target.mark_all_read("room 1", reader, cast.now())) == [live.message_id]
        for batch in moved[2:]:
            await target.restore(batch)
        stats = await target.room_stats("room 1")
        assert stats.total_messages == len(before) + 1
        assert stats.unread_count == sum(not each.read_by for each in before)
        assert list(await target.mark_all_read("room 1", reader, cast.now())) == unread
        assert [each.message_id for each in await target.history("room 1", 100)] == [
            *(each.message_id for each in before),
            live.message_id,
        ]


async def test_epoch_changes_only_when_something_is_restored(used_store, empty_stores, cast):
    epoch = await used_store.epoch()
    assert (await used_store.open_session(cast.entry(cast.guest("gus"), "room 0"))).epoch == epoch
    assert sum([await used_store.restore(batch) for batch in await batches(used_store)]) == 0
    assert await used_store.epoch() == epoch
    seen = {epoch}
    for target in empty_stores:
        seen.add(await target.epoch())
        for batch in await batches(used_store):
            await target.restore(batch)
        seen.add(await target.epoch())
    assert len(seen) == 1 + 2 * len(empty_stores)


async def test_nobody_is_online_after_a_restore(used_store, empty_stores):
    for target in empty_stores:
        for batch in await batches(used_store):
            await target.restore(batch)
        assert not any(user.online for user in await target.list_users(10))
        assert await target.activity() == (0, 0)


async def test_deleting_a_restored_user_removes_everything_of_it(used_store, empty_stores, cast):
    ann = await used_store.user_by_name("ann")
    for target in empty_stores:
        for batch in await batches(used_store):
            await target.restore(batch)
        await target.delete_user(ann.user_id, cast.now())
        left = await records(target)
        assert not [each for each in left if isinstance(each, MessageRecord) and named(each, ann.user_id)]


def named(record: MessageRecord, user_id: str) -> bool:
    return user_id in {record.user_id, *record.deliveries, *record.reads}


@pytest.mark.parametrize("shared", ["username", "email"])
async def test_restore_never_overwrites_an_account_of_the_same_name_or_email(store, cast, shared):
    user = await store.create_user(cast.account("ann"))
    other = UserRecord.of(cast.account("eve"))
    other = msgspec.structs.replace(other, **{shared: getattr(user, shared)})
    innocent = UserRecord.of(cast.account("zoe"))
    before = await records(store)
    with pytest.raises(SnapshotConflict):
        await store.restore([innocent, other])
    assert await records(store) == before


async def test_restore_never_overwrites_a_message_of_the_same_number(used_store):
    before = await records(used_store)
    first = next(record for record in before if isinstance(record, MessageRecord))
    other = msgspec.structs.replace(
        first, message_id="018f0000-0000-7000-8000-000000000000", client_message_id=None, text="other"
    )
    with pytest.raises(SnapshotConflict):
        await used_store.restore([other])
    assert await records(used_store) == before


@pytest.mark.parametrize(
    "change",
    [
        {"room": "no such room"},
        {"user_id": "018f0000-0000-7000-8000-000000000000", "guest_name": None},
        {"reads": {"018f0000-0000-7000-8000-000000000000": datetime(2031, 1, 1, tzinfo=UTC)}},
    ],
)
async def test_message_with_a_dangling_reference_is_refused_with_its_batch(store, cast, change):
    await store.restore([RoomRecord(name="tea", created_at=cast.now(), last_seq=9)])
    good = MessageRecord(
        message_id="018f0000-0000-7000-8000-000000000001",
        room="tea",
        seq=1,
        user_id="guest-1",
        guest_name="Gus",
        text="hello",
        at=cast.now(),
        edited_at=None,
        client_message_id=None,
        deliveries={},
        reads={},
    )
    bad = msgspec.structs.replace(good, message_id="018f0000-0000-7000-8000-000000000002", seq=2, **change)
    before = await records(store)
    with pytest.raises(SnapshotConflict):
        await store.restore([good, bad])
    assert await records(store) == before


async def test_restored_room_gets_the_snapshot_age_and_the_greater_number(store, cast):
    earlier, later = cast.now(), cast.now()
    await store.restore([RoomRecord(name="tea", created_at=later, last_seq=7)])
    await store.restore([RoomRecord(name="tea", created_at=earlier, last_seq=3)])
    (room,) = [each for each in await records(store) if isinstance(each, RoomRecord) and each.name == "tea"]
    assert (room.created_at, room.last_seq) == (earlier, 7)
    assert (await cast.post(cast.guest("gus"), "tea")).seq == 8


async def test_restoring_an_empty_batch_does_nothing(store):
    assert await store.restore([]) == 0
