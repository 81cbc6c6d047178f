"""Group commit on a real server: what each writer gets back, and how two servers affect each other."""

from __future__ import annotations

import asyncio
import random

import msgspec

from chatsys.errors import StoreError, StoreUnavailable, UserNotFound


async def test_waiting_messages_cost_one_statement_and_keep_their_order(pg, hands, observed):
    who = hands.guest()
    await pg.open_session(hands.entry(who))
    observed.clear()
    posted = await asyncio.gather(*(pg.post_message(hands.new_message(who, text=str(number))) for number in range(50)))
    assert observed.values["flush_rows"] == [50]
    assert observed.counts["statement"] == 1
    assert [each.message.seq for each in posted] == list(range(1, 51))
    assert [message.text for message in await pg.history("tea", 100)] == [str(number) for number in range(50)]


async def test_many_simultaneous_rooms_each_keep_their_order(pg, hands):
    """Each of 40 rooms sends its next messages when the previous ones are acknowledged, some rooms several at once."""
    who = hands.guest()
    rooms = {f"room {number}": 1 + number % 4 for number in range(40)}

    async def talk(room: str, at_once: int) -> None:
        for start in range(0, 24, at_once):
            messages = [hands.new_message(who, room=room, text=str(start + offset)) for offset in range(at_once)]
            posted = await asyncio.gather(*map(pg.post_message, messages))
            assert [each.message.seq for each in posted] == list(range(start + 1, start + at_once + 1))

    await asyncio.gather(*(talk(room, at_once) for room, at_once in rooms.items()))
    for room in rooms:
        history = await pg.history(room, 100)
        assert [(message.seq, message.text) for message in history] == [(at + 1, str(at)) for at in range(24)]


async def test_bad_message_does_not_affect_others_and_uses_no_number(pg, hands):
    who, gone = hands.guest(), await hands.account(pg)
    await pg.delete_user(gone.user_id, hands.now())
    bad = [
        hands.new_message(gone),
        hands.new_message(who, text="nul \0 in it"),
        hands.new_message(who, client_id="x" * 65),
        msgspec.structs.replace(hands.new_message(who), message_id="not-a-uuid"),
        hands.new_message(who, text="half of a pair \ud800"),
    ]
    writes = [hands.new_message(who, text="first"), *bad, hands.new_message(who, text="last")]
    first, *refused, last = await asyncio.gather(*map(pg.post_message, writes), return_exceptions=True)
    assert (first.message.seq, last.message.seq) == (1, 2)
    assert isinstance(refused[0], UserNotFound)
    assert all(isinstance(each, StoreError) and not isinstance(each, StoreUnavailable) for each in refused[1:])
    assert [message.text for message in await pg.history("tea", 10)] == ["first", "last"]


async def test_cancelled_sender_leaves_no_gap(pg, hands):
    who = hands.guest()
    tasks = [asyncio.create_task(pg.post_message(hands.new_message(who, text=str(number)))) for number in range(20)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[7].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    stored = [outcome.message.seq for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(stored) == 18
    history = await pg.history("tea", 100)
    assert [message.seq for message in history] == list(range(1, len(history) + 1))
    assert set(stored) <= {message.seq for message in history}


async def test_repetitions_in_one_flush_store_one_message(pg, hands):
    who = await hands.account(pg)
    posted = await asyncio.gather(*(pg.post_message(hands.new_message(who, client_id="same")) for _ in range(10)))
    assert sorted(each.duplicate for each in posted) == [False] + [True] * 9
    assert len({each.message.message_id for each in posted}) == 1
    assert len(await pg.history("tea", 100)) == 1


async def test_two_servers_writing_the_same_rooms_leave_no_gap_or_deadlock(pg, postgres_url, hands, observed):
    rooms = [f"room{number}" for number in range(5)]
    people = [hands.guest(f"g{number}") for number in range(4)] + [await hands.account(pg)]
    async with hands.opened(postgres_url) as other:
        stores = [pg, other]

        async def chatter(number: int) -> None:
            rng = random.Random(number)
            for _ in range(15):
                store, room, who = rng.choice(stores), rng.choice(rooms), rng.choice(people)
                await store.post_message(hands.new_message(who, room))
                for message in (await store.history(room, 3))[:2]:
                    await store.mark_read(room, message.message_id, rng.choice(people), hands.now())
                if rng.random() < 0.2:
                    await store.mark_all_read(room, rng.choice(people), hands.now())

        await asyncio.gather(*map(chatter, range(24)))
        histories = {room: await other.history(room, 1000) for room in rooms}
    assert sum(map(len, histories.values())) == 24 * 15
    for room, history in histories.items():
        assert [message.seq for message in history] == list(range(1, len(history) + 1))
        stats = await pg.room_stats(room)
        unread = sum(not message.read_by for message in history)
        assert (stats.total_messages, stats.unread_count) == (len(history), unread)


async def test_client_id_sent_through_two_servers_at_once_is_stored_once(pg, postgres_url, hands):
    ann, gus = await hands.account(pg), hands.guest()
    async with hands.opened(postgres_url) as other:
        for number in range(20):
            for who in (ann, gus):
                messages = [hands.new_message(who, client_id=f"id-{number}") for _ in range(4)]
                stores = [pg, other, pg, other]
                posted = await asyncio.gather(
                    *(store.post_message(each) for store, each in zip(stores, messages, strict=True))
                )
                assert sorted(each.duplicate for each in posted) == [False, True, True, True]
                assert len({each.message.seq for each in posted}) == 1
    assert [message.seq for message in await pg.history("tea", 1000)] == list(range(1, 41))


async def test_client_id_is_stored_once_even_if_two_servers_create_its_room(pg, postgres_url, hands):
    async with hands.opened(postgres_url) as other:
        for number in range(30):
            gus = hands.guest(f"gus{number}")
            messages = [hands.new_message(gus, room=f"tea {number}", client_id="the same") for _ in range(4)]
            stores = [pg, other, pg, other]
            posted = await asyncio.gather(
                *(store.post_message(each) for store, each in zip(stores, messages, strict=True))
            )
            assert sorted(each.duplicate for each in posted) == [False, True, True, True]
            assert {each.message.seq for each in posted} == {1}


async def test_last_two_sessions_ending_on_two_servers_set_the_user_offline(pg, postgres_url, hands):
    async with hands.opened(postgres_url) as other:
        for number in range(15):
            ann, gus = await hands.account(pg, f"ann{number}"), hands.guest(f"gus{number}")
            for who in (ann, gus):
                sessions = [(await store.open_session(hands.entry(who))).session for store in (pg, other)]
                ended = await asyncio.gather(
                    pg.close_session(sessions[0].session_id, hands.now()),
                    other.close_session(sessions[1].session_id, hands.now()),
                )
                assert sorted(each.last for each in ended) == [False, True]
            user = await pg.user_by_id(ann.user_id)
            assert not user.online


async def test_five_hundred_simultaneous_joins_cost_a_few_statements(pg, hands, observed):
    people = [hands.guest(f"g{number}") for number in range(500)]
    joined = await asyncio.gather(*(pg.open_session(hands.entry(who)) for who in people))
    assert len({each.session.session_id for each in joined}) == 500
    assert observed.counts["statement"] <= 5
    assert len(await pg.sessions("tea")) == 500


async def test_waiting_receipts_cost_one_statement_and_return_the_whole_set(pg, hands, observed):
    author = hands.guest("author")
    messages = [(await pg.post_message(hands.new_message(author))).message for _ in range(3)]
    readers = [hands.guest(f"g{number}") for number in range(10)]
    observed.clear()
    receipts = await asyncio.gather(
        *(pg.mark_read("tea", message.message_id, reader, hands.now()) for message in messages for reader in readers)
    )
    assert observed.counts["statement"] == 1
    everyone = {reader.user_id for reader in readers}
    assert all(set(receipt.user_ids) == everyone for receipt in receipts)
    assert all(set(message.delivered_to) == everyone for message in await pg.history("tea", 3))


async def test_closed_store_has_stored_everything_that_it_accepted(postgres_url, hands):
    async with hands.opened(postgres_url) as store:
        tasks = [asyncio.create_task(store.post_message(hands.new_message(hands.guest()))) for _ in range(20)]
        await asyncio.sleep(0)
    assert sorted(each.message.seq for each in await asyncio.gather(*tasks)) == list(range(1, 21))
