"""Messages that the original's programs mark as deleted are never shown or counted, and return when unmarked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chatsys.database.opening import open_prepared_store
from chatsys.model.snapshot import MessageRecord
from chatsys.store.contract import Store
from chatsys.store.opening import open_store
from chatsys.store.options import StoreOptions
from tests.contract.conftest import Cast
from tests.db.conftest import rows, run

HIDE = "UPDATE messages SET is_deleted = true WHERE seq IN (2, 5)"
SHOW = "UPDATE messages SET is_deleted = false"


@pytest.fixture
async def store(fresh: str) -> AsyncIterator[Store]:
    async with open_prepared_store(fresh, StoreOptions(pool_size=5)) as opened:
        yield opened


@pytest.fixture
async def ids(store: Store, fresh: str) -> list[str]:
    """Five messages of a guest: the first two were read, then the second and the last were hidden."""
    cast = Cast(store)
    ids = [(await cast.post(cast.guest("ann"), "tea")).message_id for _ in range(5)]
    for message_id in ids[:2]:
        await store.mark_read("tea", message_id, cast.guest("bob"), cast.now())
    run(fresh, HIDE)
    return ids


async def numbers(store: Store) -> list[list[int]]:
    """Return the sequence numbers that each way of reading shows."""
    pages = [
        await store.history("tea", 100),
        await store.history("tea", 99),
        await store.history("tea", 100, 1),
        await store.messages_since("tea", 1, 100),
    ]
    return [[message.seq for message in page] for page in pages]


async def counts(store: Store) -> tuple[int, int]:
    stats = await store.room_stats("tea")
    return stats.total_messages, stats.unread_count


async def test_hidden_message_is_in_no_page_and_no_replay(store: Store, ids: list[str], fresh: str) -> None:
    assert await numbers(store) == [[1, 3, 4], [1, 3, 4], [1, 3], [3, 4]]
    run(fresh, SHOW)
    assert await numbers(store) == [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 4], [2, 3, 4, 5]]


async def test_hidden_message_is_in_no_count(store: Store, ids: list[str], fresh: str) -> None:
    view = "SELECT total_messages, last_message_at = (SELECT max(created_at) FROM messages WHERE NOT is_deleted)"
    view += " FROM room_stats_view WHERE room_name = 'tea'"
    assert await counts(store) == (3, 2)
    assert rows(fresh, view) == [(3, True)]
    last_shown = (await store.history("tea", 1))[0].at
    assert {room.last_activity for room in await store.rooms() if room.name == "tea"} == {last_shown}
    run(fresh, SHOW)
    assert await counts(store) == (5, 3)
    assert rows(fresh, view) == [(5, True)]


async def test_counts_stay_correct_when_a_hidden_message_is_deleted(store: Store, ids: list[str], fresh: str) -> None:
    run(fresh, "DELETE FROM messages WHERE seq < 3")
    assert await counts(store) == (2, 2)
    run(fresh, "DELETE FROM message_reads")
    run(fresh, SHOW)
    assert await counts(store) == (3, 3)


async def test_hidden_message_can_not_be_marked_as_read(store: Store, ids: list[str]) -> None:
    cast = Cast(store)
    for number in (1, 4):
        assert await store.mark_delivered("tea", ids[number], cast.guest("cy"), cast.now()) is None
        assert await store.mark_read("tea", ids[number], cast.guest("cy"), cast.now()) is None
    user = await cast.user("dan")
    shown = [ids[0], ids[2], ids[3]]
    assert list(await store.mark_all_read("tea", cast.guest("cy"), cast.now())) == shown
    assert list(await store.mark_all_read("tea", user, cast.now())) == shown
    assert await counts(store) == (3, 0)


async def test_reads_changed_by_sql_are_counted_when_a_message_is_shown(
    store: Store, ids: list[str], fresh: str
) -> None:
    run(fresh, "INSERT INTO message_reads (message_id, guest_id) SELECT message_id, 'eve' FROM messages WHERE seq = 5")
    assert await counts(store) == (3, 2)
    run(fresh, "DELETE FROM message_reads WHERE message_id IN (SELECT message_id FROM messages WHERE seq = 2)")
    assert await counts(store) == (3, 2)
    run(fresh, SHOW)
    assert await counts(store) == (5, 3)


async def test_hidden_message_is_not_exported_and_its_number_not_reused(store: Store, ids: list[str]) -> None:
    batches = [batch async for batch in store.snapshot()]
    moved = [record.seq for batch in batches for record in batch if isinstance(record, MessageRecord)]
    assert moved == [1, 3, 4]
    async with open_store("memory://") as target:
        for batch in batches:
            await target.restore(batch)
        assert (await target.room_stats("tea")).total_messages == 3
    cast = Cast(store)
    assert (await cast.post(cast.guest("ann"), "tea")).seq == 6
