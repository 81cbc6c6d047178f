"""Deliveries and reads: sets that only grow and never include the sender."""

from __future__ import annotations

import asyncio

import pytest

ABSENT = ["018f0000-0000-7000-8000-000000000000", "", "not-a-uuid", "x" * 36, "%"]


@pytest.fixture
async def people(cast):
    return await cast.user("ann"), await cast.user("bob"), cast.guest("gus")


async def test_delivery_is_recorded_and_marks_nothing_as_read(store, cast, people):
    ann, bob, gus = people
    message = await cast.post(ann, "tea")
    receipt = await store.mark_delivered("tea", message.message_id, bob, cast.now())
    assert receipt is not None
    assert (receipt.message_id, receipt.user_ids) == (message.message_id, (bob.user_id,))
    receipt = await store.mark_delivered("tea", message.message_id, gus, cast.now())
    assert receipt is not None
    assert set(receipt.user_ids) == {bob.user_id, gus.user_id}
    stored = await cast.message("tea", message.message_id)
    assert set(stored.delivered_to) == {bob.user_id, gus.user_id}
    assert stored.read_by == ()


async def test_reading_implies_delivery(store, cast, people):
    ann, bob, gus = people
    message = await cast.post(ann, "tea")
    await store.mark_delivered("tea", message.message_id, gus, cast.now())
    receipt = await store.mark_read("tea", message.message_id, bob, cast.now())
    assert receipt is not None
    assert receipt.user_ids == (bob.user_id,)
    stored = await cast.message("tea", message.message_id)
    assert set(stored.delivered_to) == {bob.user_id, gus.user_id}
    assert stored.read_by == (bob.user_id,)


async def test_repeated_receipt_changes_nothing_and_returns_the_same_set(store, cast, people):
    ann, bob, gus = people
    message = await cast.post(ann, "tea")
    for mark in (store.mark_delivered, store.mark_read):
        for reader in (bob, gus):
            await mark("tea", message.message_id, reader, cast.now())
        receipt = await mark("tea", message.message_id, bob, cast.now())
        assert receipt is not None
        assert sorted(receipt.user_ids) == sorted([bob.user_id, gus.user_id])
    stored = await cast.message("tea", message.message_id)
    assert len(stored.delivered_to) == len(stored.read_by) == 2


async def test_sender_never_acknowledges_its_own_message(store, cast, people):
    for sender in people:
        message = await cast.post(sender, "tea")
        assert await store.mark_delivered("tea", message.message_id, sender, cast.now()) is None
        assert await store.mark_read("tea", message.message_id, sender, cast.now()) is None
        stored = await cast.message("tea", message.message_id)
        assert (stored.delivered_to, stored.read_by) == ((), ())


async def test_receipt_for_a_message_of_another_room_finds_nothing(store, cast, people):
    ann, bob, _ = people
    message = await cast.post(ann, "tea")
    await cast.post(ann, "cake")
    for room in ("cake", "nowhere", "TEA", ""):
        assert await store.mark_delivered(room, message.message_id, bob, cast.now()) is None
        assert await store.mark_read(room, message.message_id, bob, cast.now()) is None
    assert (await cast.message("tea", message.message_id)).delivered_to == ()


@pytest.mark.parametrize("message_id", ABSENT)
async def test_receipt_for_an_unknown_or_malformed_message_finds_nothing(store, cast, people, message_id):
    await cast.post(people[0], "tea")
    assert await store.mark_delivered("tea", message_id, people[1], cast.now()) is None
    assert await store.mark_read("tea", message_id, people[1], cast.now()) is None


async def test_deleted_account_acknowledges_nothing(store, cast, people):
    ann, bob, _ = people
    message = await cast.post(ann, "tea")
    await store.delete_user(bob.user_id, cast.now())
    assert await store.mark_delivered("tea", message.message_id, bob, cast.now()) is None
    assert await store.mark_read("tea", message.message_id, bob, cast.now()) is None
    assert list(await store.mark_all_read("tea", bob, cast.now())) == []
    assert (await cast.message("tea", message.message_id)).delivered_to == ()


async def test_simultaneous_receipts_of_many_readers_count_once_each(store, cast, people):
    message = await cast.post(people[0], "tea")
    readers = [await cast.user(f"reader{number}") for number in range(6)] + [people[2]]
    marks = [
        mark("tea", message.message_id, reader, cast.now())
        for reader in readers * 3
        for mark in (store.mark_read, store.mark_delivered)
    ]
    assert None not in await asyncio.gather(*marks)
    stored = await cast.message("tea", message.message_id)
    assert sorted(stored.delivered_to) == sorted(stored.read_by) == sorted(reader.user_id for reader in readers)


async def test_mark_all_read_returns_exactly_the_newly_marked_in_order(store, cast, people):
    ann, bob, gus = people
    sent = [await cast.post(who, "tea") for who in (ann, gus, bob, ann, gus)]
    await store.mark_read("tea", sent[1].message_id, bob, cast.now())
    await store.mark_delivered("tea", sent[3].message_id, bob, cast.now())
    marked = await store.mark_all_read("tea", bob, cast.now())
    assert list(marked) == [sent[0].message_id, sent[3].message_id, sent[4].message_id]
    for message in await store.history("tea", 10):
        expected = () if message.user_id == bob.user_id else (bob.user_id,)
        assert message.delivered_to == message.read_by == expected
    assert list(await store.mark_all_read("tea", bob, cast.now())) == []


async def test_mark_all_read_finds_what_came_since_the_last_time(store, cast, people):
    ann, bob, gus = people
    for reader in (bob, gus):
        await cast.post(ann, "tea")
        assert len(await store.mark_all_read("tea", reader, cast.now())) >= 1
        late = [await cast.post(ann, "tea"), await cast.post(ann, "tea")]
        await store.mark_read("tea", late[1].message_id, reader, cast.now())
        assert list(await store.mark_all_read("tea", reader, cast.now())) == [late[0].message_id]
        assert list(await store.mark_all_read("tea", reader, cast.now())) == []


async def test_mark_all_read_leaves_other_rooms_and_other_readers_alone(store, cast, people):
    ann, bob, gus = people
    here, there = await cast.post(ann, "tea"), await cast.post(ann, "cake")
    assert list(await store.mark_all_read("tea", gus, cast.now())) == [here.message_id]
    assert (await cast.message("cake", there.message_id)).read_by == ()
    assert list(await store.mark_all_read("tea", bob, cast.now())) == [here.message_id]
    assert set((await cast.message("tea", here.message_id)).read_by) == {bob.user_id, gus.user_id}


async def test_simultaneous_calls_return_each_marked_id_once(store, cast, people):
    ann, bob, _ = people
    sent = [await cast.post(ann, "tea") for _ in range(10)]
    answers = await asyncio.gather(*(store.mark_all_read("tea", bob, cast.now()) for _ in range(5)))
    assert sorted(each for answer in answers for each in answer) == sorted(message.message_id for message in sent)


@pytest.mark.parametrize("place", [1, 2])
async def test_marking_in_parts_marks_the_whole_room(store, cast, people, place):
    ann, reader = people[0], people[place]
    sent = await asyncio.gather(*[store.post_message(cast.new_message(ann, "tea")) for _ in range(1201)])
    expected = [posted.message.message_id for posted in sorted(sent, key=lambda posted: posted.message.seq)]
    parts, reached = [], 0
    while reached is not None:
        part = await store.mark_some_read("tea", reader, cast.now(), reached)
        parts.append(list(part.message_ids))
        reached = part.reached
        if len(parts) == 1:
            late = await cast.post(ann, "tea")
    assert [each for part in parts for each in part] == [*expected, late.message_id]
    assert len(parts) > 1
    assert max(map(len, parts)) <= 1000
    assert list(await store.mark_all_read("tea", reader, cast.now())) == []
    assert (await store.room_stats("tea")).unread_count == 0


async def test_simultaneous_markings_of_a_large_room_mark_each_message_once(store, cast, people):
    ann, bob, gus = people
    await asyncio.gather(*[store.post_message(cast.new_message(ann, "tea")) for _ in range(450)])
    for reader in (bob, gus):
        answers = await asyncio.gather(*(store.mark_all_read("tea", reader, cast.now()) for _ in range(4)))
        marked = [each for answer in answers for each in answer]
        assert len(marked) == len(set(marked)) == 450


async def test_first_of_equal_receipts_is_the_only_new_one(store, cast, people):
    ann, bob, gus = people
    message = await cast.post(ann, "tea")
    for reader in (bob, gus):
        for mark, new in ((store.mark_delivered, 1), (store.mark_read, 1), (store.mark_delivered, 0)):
            receipts = await asyncio.gather(*(mark("tea", message.message_id, reader, cast.now()) for _ in range(4)))
            assert sum(receipt.new for receipt in receipts) == new
    late = await cast.post(ann, "tea")
    await store.mark_all_read("tea", bob, cast.now())
    receipt = await store.mark_read("tea", late.message_id, bob, cast.now())
    assert receipt is not None
    assert not receipt.new
