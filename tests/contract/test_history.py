"""Pages of a room, and the messages after a sequence number."""

from __future__ import annotations

import pytest

from chatsys.model.values import UserChanges


@pytest.fixture
async def room(cast):
    """A room with 10 messages of two senders, texts "1" to "10", beside another room."""
    ann, gus = await cast.user("ann"), cast.guest("gus")
    for number in range(1, 11):
        await cast.post(ann if number % 2 else gus, "tea", str(number))
        await cast.post(gus, "cake", "elsewhere")
    return "tea"


def texts(messages) -> list[int]:
    return [int(message.text) for message in messages]


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [
        (100, 0, range(1, 11)),
        (10, 0, range(1, 11)),
        (3, 0, range(8, 11)),
        (3, 2, range(6, 9)),
        (3, 9, range(1, 2)),
        (100, 4, range(1, 7)),
        (3, 10, ()),
        (3, 1000, ()),
        (3, 2**62, ()),
        (0, 0, ()),
        (0, 3, ()),
    ],
)
async def test_page_counts_from_the_newest_and_is_ordered_oldest_first(store, room, limit, offset, expected):
    assert texts(await store.history(room, limit, offset)) == list(expected)


@pytest.mark.parametrize(
    ("seq", "limit", "expected"),
    [
        (0, 1000, range(1, 11)),
        (7, 1000, range(8, 11)),
        (9, 1, range(10, 11)),
        (10, 1000, ()),
        (11, 1000, ()),
        (2**62, 1000, ()),
        (-1, 1000, range(1, 11)),
        (2, 3, range(8, 11)),
        (0, 0, ()),
    ],
)
async def test_replay_gives_the_newest_messages_after_a_number_oldest_first(store, room, seq, limit, expected):
    assert texts(await store.messages_since(room, seq, limit)) == list(expected)


@pytest.mark.parametrize(
    ("after", "before", "limit", "offset", "expected"),
    [
        (0, 8, 3, 0, range(5, 8)),
        (0, 8, 3, 2, range(3, 6)),
        (0, 1, 3, 0, ()),
        (0, 0, 3, 0, ()),
        (4, 8, 100, 0, range(5, 8)),
        (4, 8, 100, 1, range(5, 7)),
        (7, 8, 100, 0, ()),
        (0, 2**63 - 1, 2, 0, range(9, 11)),
        (0, 11, 100, 2**63 - 1, ()),
    ],
)
async def test_page_can_be_taken_between_two_numbers(store, room, after, before, limit, offset, expected):
    assert texts(await store.history(room, limit, offset, after=after, before=before)) == list(expected)


async def test_page_between_two_numbers_counts_existing_messages(store, cast, room):
    bob = await cast.user("bob")
    for number in range(11, 16):
        await cast.post(bob, room, str(number))
    await store.delete_user((await store.user_by_name("ann")).user_id, cast.now())
    left = [2, 4, 6, 8, 10, 11, 12, 13, 14, 15]
    for offset in range(12):
        assert texts(await store.history(room, 3, offset)) == left[: max(0, 10 - offset)][-3:]
        assert texts(await store.history(room, 3, offset, before=11)) == left[: max(0, 5 - offset)][-3:]


@pytest.mark.parametrize("limit", [99, 100])
async def test_older_messages_are_left_out_once_the_newer_have_enough_bytes(store, cast, limit):
    gus = cast.guest("gus")
    for text in ("a", "b" * 10, "\u00e4" * 5, "d" * 10):
        await cast.post(gus, "tea", text)

    async def found(max_bytes: int) -> list[int]:
        return [message.seq for message in await store.history("tea", limit, max_bytes=max_bytes)]

    assert [await found(size) for size in (1, 10, 11, 20)] == [[4], [4], [3, 4], [3, 4]]
    assert await found(21) == [2, 3, 4]
    assert await found(31) == await found(10_000) == [1, 2, 3, 4]
    assert [message.seq for message in await store.messages_since("tea", 2, limit, 5)] == [4]


async def test_joined_pages_are_the_whole_room(store, room):
    pages = [await store.history(room, 3, offset) for offset in (9, 6, 3, 0)]
    assert [message.seq for page in pages for message in page] == list(range(1, 11))


async def test_history_and_replay_show_receipts(store, cast, room):
    reader = await cast.user("reader")
    first = (await store.history(room, 1, 9))[0]
    await store.mark_read(room, first.message_id, reader, cast.now())
    for messages in (await store.history(room, 100), await store.messages_since(room, 0, 100)):
        assert (messages[0].delivered_to, messages[0].read_by) == ((reader.user_id,), (reader.user_id,))
        assert all(not message.delivered_to and not message.read_by for message in messages[1:])


async def test_many_receipts_do_not_change_how_many_messages_a_page_has(store, cast, room):
    readers = [await cast.user(f"reader{number}") for number in range(8)]
    for reader in readers:
        await store.mark_all_read(room, reader, cast.now())
    page = await store.history(room, 4)
    assert texts(page) == [7, 8, 9, 10]
    assert all(set(message.read_by) == {reader.user_id for reader in readers} for message in page)
    assert all(len(message.read_by) == len(set(message.read_by)) for message in page)


async def test_rooms_are_distinguished_by_letter_case(store, room):
    assert await store.history(room.upper(), 10) == []


async def test_page_shows_current_profiles(store, cast, room):
    bob = await cast.user("bob")
    await cast.post(bob, room)
    ann = (await store.user_by_name("ann")).user_id
    for name in ("Ann 1", "Ann 2"):
        assert {message.username for message in await store.history(room, 100)} == {"ann", "gus", "bob"}
        await store.update_user(ann, UserChanges(display_name=name, avatar=f"https://example.org/{name}"))
        for page in (await store.history(room, 100), await store.history(room, 99)):
            shown = {(message.username, message.display_name, message.avatar) for message in page}
            assert ("ann", name, f"https://example.org/{name}") in shown
            assert len(shown) == 3
    await store.delete_user(ann, cast.now())
    assert [message.username for message in await store.history(room, 100)] == ["gus"] * 5 + ["bob"]
