"""Messages: stored once, numbered without gaps, returned exactly."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.errors import UserNotFound
from chatsys.model.values import UserChanges

TEXTS = {
    "spaces": "  a  \t\n ",
    "quotes": 'it\'s "100%" \\ _ $1 :name {} --',
    "markup": "<script>alert('&amp;')</script>",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f600",
    "not normalised": "e\u0301 \u00e9 \ufb01",
    "controls": "\x01\x02\x1f\x7f\x85\u2028\u2029\r\n",
    "edges of Unicode": "\ufffd \ufeff \uffff \U0010ffff",
    "right to left": "\u202eabc \u05d0\u05d1",
    "a megabyte of ASCII": "x" * 1_000_000,
    "a megabyte of four-byte characters": "\U0001f600" * 250_000,
}


async def test_posted_message_is_returned_unchanged(store, cast):
    ann = await cast.user("ann")
    new_message = cast.new_message(ann, "tea", "hello")
    posted = await store.post_message(new_message)
    message = posted.message
    assert not posted.duplicate
    assert (message.message_id, message.seq, message.room, message.text) == (new_message.message_id, 1, "tea", "hello")
    assert (message.user_id, message.username, message.display_name) == (ann.user_id, "ann", "ann")
    assert (message.avatar, message.at, message.edited_at) == (ann.avatar, new_message.at, None)
    assert (message.delivered_to, message.read_by) == ((), ())
    assert await store.history("tea", 10) == [message]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_every_text_is_returned_exactly(store, cast, text):
    assert (await cast.post(cast.guest("gus"), "tea", text)).text == text
    (stored,) = await store.history("tea", 1)
    assert stored.text == text


async def test_sequence_numbers_grow_by_one_in_each_room(store, cast):
    ann, gus = await cast.user("ann"), cast.guest("gus")
    rooms = ["tea", "cake", "tea", "tea", "cake"]
    numbers = [(await cast.post(who, room)).seq for who, room in zip([ann, gus, gus, ann, ann], rooms, strict=True)]
    assert numbers == [1, 1, 2, 3, 2]


async def test_simultaneous_messages_get_unique_numbers_without_a_gap(store, cast):
    people = [await cast.user(f"user{number}") for number in range(5)] + [cast.guest("gus")]
    messages = [cast.new_message(people[number % 6], f"room{number % 3}", str(number)) for number in range(120)]
    posted = await asyncio.gather(*map(store.post_message, messages))
    for room in ("room0", "room1", "room2"):
        here = sorted((each.message for each in posted if each.message.room == room), key=lambda each: each.seq)
        assert [message.seq for message in here] == list(range(1, 41))
        assert await store.history(room, 1000) == here


async def test_messages_of_one_task_keep_their_order_among_others(store, cast):
    async def burst(name: str) -> None:
        for number in range(20):
            await cast.post(cast.guest(name), "tea", str(number))

    await asyncio.gather(*(burst(f"guest{number}") for number in range(6)))
    stored = await store.history("tea", 1000)
    assert [message.seq for message in stored] == list(range(1, 121))
    for number in range(6):
        theirs = [int(message.text) for message in stored if message.username == f"guest{number}"]
        assert theirs == list(range(20))


async def test_sender_name_is_current_for_users_and_historic_for_guests(store, cast):
    ann = await cast.user("ann")
    await cast.post(ann, "tea")
    await cast.post(cast.guest("gus", "guest-1"), "tea")
    await cast.post(cast.guest("gustav", "guest-1"), "tea")
    await store.update_user(ann.user_id, UserChanges(display_name="Ann II", avatar="https://example.org/2"))
    first, second, third = await store.history("tea", 10)
    assert (first.username, first.display_name, first.avatar) == ("ann", "Ann II", "https://example.org/2")
    assert (second.username, second.display_name, second.avatar) == ("gus", "gus", cast.guest("gus").avatar)
    assert (third.user_id, third.username) == ("guest-1", "gustav")


async def test_deleted_account_can_not_post(store, cast):
    ann = await cast.user("ann")
    await store.delete_user(ann.user_id, cast.now())
    with pytest.raises(UserNotFound):
        await cast.post(ann, "tea")
    assert await store.history("tea", 10) == []


async def test_refused_message_consumes_no_sequence_number(store, cast):
    ann, gone = await cast.user("ann"), await cast.user("gone")
    await store.delete_user(gone.user_id, cast.now())
    messages = [cast.new_message(gone if number % 3 == 1 else ann, "tea", str(number)) for number in range(30)]
    outcomes = await asyncio.gather(*map(store.post_message, messages), return_exceptions=True)
    assert [isinstance(outcome, UserNotFound) for outcome in outcomes] == [number % 3 == 1 for number in range(30)]
    assert [message.seq for message in await store.history("tea", 100)] == list(range(1, 21))
