"""Excerpts: limited in messages and bytes, complete in between, made in steps."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from chatsys.chat import conversation, history
from chatsys.chat.history import excerpt, replay
from chatsys.wire import objects


@pytest.fixture
async def room(chat, people):
    """A room with nine messages of 100 bytes of text."""
    session = await people.join("tea")
    for number in range(9):
        await conversation.send(chat, session, f"{number}" * 100)
    return "tea"


async def taken(chat, room, **options):
    found = await excerpt(chat, room, objects.encoded_messages, **{"limit": 100, "max_bytes": 10_000, **options})
    seqs = [message["seq"] for message in msgspec.json.decode(found.data)]
    assert found.count == len(seqs)
    assert (found.first, found.last) == ((seqs[0], seqs[-1]) if seqs else (0, 0))
    return seqs, found.truncated


@pytest.mark.parametrize("step", [1, 2, 100])
async def test_excerpt_is_the_same_for_every_step_size(chat, room, monkeypatch, step):
    monkeypatch.setattr(history, "STEP", step)
    assert await taken(chat, room) == (list(range(1, 10)), False)
    assert await taken(chat, room, limit=4) == ([6, 7, 8, 9], False)
    assert await taken(chat, room, limit=4, offset=2) == ([4, 5, 6, 7], False)
    assert await taken(chat, room, limit=4, before=5, after=2) == ([3, 4], False)
    assert await taken(chat, room, limit=0) == ([], False)
    assert await taken(chat, room, offset=9) == ([], False)


@pytest.mark.parametrize("step_bytes", [1, 150, 10_000])
@pytest.mark.parametrize("step", [1, 100])
async def test_excerpt_holds_the_newest_messages_that_fit_and_at_least_one(chat, room, monkeypatch, step, step_bytes):
    monkeypatch.setattr(history, "STEP", step)
    monkeypatch.setattr(history, "STEP_BYTES", step_bytes)
    one = len((await excerpt(chat, room, objects.encoded_messages, limit=1, max_bytes=10_000)).data)
    for count in range(1, 9):
        exactly = 2 + count * (one - 1)
        assert await taken(chat, room, max_bytes=exactly) == (list(range(10 - count, 10)), True)
        assert await taken(chat, room, max_bytes=exactly - 1) == (list(range(min(11 - count, 9), 10)), True)
        assert await taken(chat, room, max_bytes=exactly, limit=count) == (list(range(10 - count, 10)), False)
    assert await taken(chat, room, max_bytes=1) == ([9], True)
    assert await taken(chat, room, max_bytes=1, limit=1) == ([9], False)
    assert await taken(chat, room, max_bytes=1, before=2) == ([1], False)


async def test_receipts_count_with_their_size_on_the_wire(chat, people, room):
    reader = await people.join(room, name="x" * 50)
    small = await excerpt(chat, room, objects.encoded_messages, limit=9, max_bytes=10_000)
    await conversation.read_all(chat, reader, reader.room)
    cut = await excerpt(chat, room, objects.encoded_messages, limit=9, max_bytes=len(small.data))
    assert (cut.truncated, len(cut.data) <= len(small.data), cut.count < 9) == (True, True, True)


async def test_other_tasks_run_between_the_steps(chat, room, monkeypatch):
    monkeypatch.setattr(history, "STEP", 1)
    iterations = 0

    async def other() -> None:
        nonlocal iterations
        while True:
            iterations += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await taken(chat, room)
    beside.cancel()
    assert iterations >= 8


async def test_replay_says_whether_it_is_complete(chat, room):
    async def given(since):
        found = await replay(chat, room, objects.encoded_messages, since)
        return [message["seq"] for message in msgspec.json.decode(found.data)], found.last, found.complete

    assert await given(None) == ([7, 8, 9], 9, True)  # the limits of these tests: 3 and 4 messages
    assert await given(4) == ([6, 7, 8, 9], 9, False)
    assert await given(5) == ([6, 7, 8, 9], 9, True)
    assert await given(9) == ([], 0, True)


async def test_replay_whose_older_part_was_deleted_is_complete(chat, people):
    _, token = await people.register("ann")
    ann, gus = await people.join("tea", token=token), await people.join("tea")
    for session in (ann, ann, gus, gus, gus, gus):
        await conversation.send(chat, session, "x")
    assert not (await replay(chat, "tea", objects.encoded_messages, 0)).complete
    await chat.store.delete_user(ann.who.user_id, chat.clock.now())
    assert (await replay(chat, "tea", objects.encoded_messages, 0)).complete
