"""A client's own message id makes it harmless to send a message again."""

from __future__ import annotations

import asyncio

from chatsys.model.values import UserChanges


async def test_repeated_message_stores_nothing_and_returns_the_first(store, cast):
    ann = await cast.user("ann")
    first = await store.post_message(cast.new_message(ann, "tea", "one", "id-1"))
    again = await store.post_message(cast.new_message(ann, "tea", "two", "id-1"))
    assert (first.duplicate, again.duplicate) == (False, True)
    assert again.message == first.message
    assert await store.history("tea", 10) == [first.message]
    assert (await cast.post(ann, "tea")).seq == 2


async def test_client_message_id_of_a_user_is_known_in_every_room(store, cast):
    ann = await cast.user("ann")
    first = await cast.post(ann, "tea", "one", "id-1")
    again = await store.post_message(cast.new_message(ann, "cake", "one", "id-1"))
    assert again.duplicate
    assert again.message == first
    assert await store.history("cake", 10) == []


async def test_client_message_id_of_a_guest_is_known_only_in_its_room(store, cast):
    gus = cast.guest("gus")
    first = await cast.post(gus, "tea", "one", "id-1")
    again = await store.post_message(cast.new_message(gus, "tea", "two", "id-1"))
    elsewhere = await store.post_message(cast.new_message(gus, "cake", "three", "id-1"))
    assert (again.duplicate, again.message) == (True, first)
    assert (elsewhere.duplicate, elsewhere.message.seq) == (False, 1)


async def test_client_message_ids_of_different_senders_do_not_collide(store, cast):
    people = [await cast.user("ann"), await cast.user("bob"), cast.guest("gus", "g-1"), cast.guest("gus", "g-2")]
    posted = [await store.post_message(cast.new_message(who, "tea", "hi", "same")) for who in people]
    assert [each.duplicate for each in posted] == [False] * 4
    assert [each.message.seq for each in posted] == [1, 2, 3, 4]


async def test_client_message_ids_are_compared_exactly(store, cast):
    ann = await cast.user("ann")
    ids = ["a", "A", " a", "a ", "%", "_", "'", "\u00e9", "e\u0301", "x" * 64, "x" * 63]
    posted = [await store.post_message(cast.new_message(ann, "tea", "hi", each)) for each in ids]
    assert not any(each.duplicate for each in posted)


async def test_messages_without_an_id_are_never_repetitions(store, cast):
    ann = await cast.user("ann")
    posted = [await store.post_message(cast.new_message(ann, "tea", "same")) for _ in range(3)]
    assert [each.message.seq for each in posted] == [1, 2, 3]


async def test_simultaneous_repetitions_store_one_message_and_all_return_it(store, cast):
    for who in (await cast.user("ann"), cast.guest("gus")):
        messages = [cast.new_message(who, who.username, str(number), "id-1") for number in range(20)]
        posted = await asyncio.gather(*map(store.post_message, messages))
        assert sum(not each.duplicate for each in posted) == 1
        (stored,) = await store.history(who.username, 100)
        assert {each.message.message_id for each in posted} == {stored.message_id}
        assert {each.message.text for each in posted} == {stored.text}


async def test_repetitions_among_new_messages_leave_no_gap(store, cast):
    ann = await cast.user("ann")
    messages = [cast.new_message(ann, "tea", str(number), f"id-{number % 10}") for number in range(50)]
    posted = await asyncio.gather(*map(store.post_message, messages))
    assert sum(each.duplicate for each in posted) == 40
    assert [message.seq for message in await store.history("tea", 100)] == list(range(1, 11))


async def test_repetition_returns_the_current_state_of_the_first_message(store, cast):
    ann, bob = await cast.user("ann"), await cast.user("bob")
    first = await cast.post(ann, "tea", "one", "id-1")
    await store.mark_read("tea", first.message_id, bob, cast.now())
    await store.update_user(ann.user_id, UserChanges(display_name="Ann II"))
    again = (await store.post_message(cast.new_message(ann, "tea", "one", "id-1"))).message
    assert (again.read_by, again.delivered_to, again.display_name) == ((bob.user_id,), (bob.user_id,), "Ann II")


async def test_repetition_creates_no_room(store, cast):
    ann = await cast.user("ann")
    await cast.post(ann, "tea", "one", "id-1")
    await store.post_message(cast.new_message(ann, "never", "one", "id-1"))
    assert "never" not in {room.name for room in await store.rooms()}
