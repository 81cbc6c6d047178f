"""Sessions and presence: who is in which room, and who is online."""

from __future__ import annotations

import msgspec
import pytest

from chatsys.errors import UserNotFound
from chatsys.model.values import UserChanges

ABSENT = ["018f0000-0000-7000-8000-000000000000", "", "not-a-uuid"]


async def user(store, who):
    found = await store.user_by_id(who.user_id)
    assert found is not None
    return found


async def test_session_is_returned_as_it_was_opened(store, cast):
    ann = await cast.user("ann")
    entry = cast.entry(ann, "tea")
    joined = await store.open_session(entry)
    session = joined.session
    assert (session.session_id, session.socket_id, session.room) == (entry.session_id, entry.socket_id, "tea")
    assert (session.who, session.joined_at, session.online, session.last_seen) == (ann, entry.at, True, entry.at)
    assert joined.last_seq == 0
    assert await store.sessions("tea") == [session]


async def test_joining_returns_the_newest_sequence_number(store, cast):
    gus = cast.guest("gus")
    for _ in range(3):
        await cast.post(gus, "tea")
    assert (await store.open_session(cast.entry(gus, "tea"))).last_seq == 3


async def test_sessions_are_in_order_of_joining_with_one_for_each_socket(store, cast):
    ann, bob, gus = await cast.user("ann"), await cast.user("bob"), cast.guest("gus")
    opened = [await cast.join(who, "tea") for who in (bob, ann, gus, ann, bob)]
    assert [each.session_id for each in await store.sessions("tea")] == [each.session_id for each in opened]
    assert [each.who.username for each in await store.sessions("tea")] == ["bob", "ann", "gus", "ann", "bob"]


async def test_sessions_of_the_same_millisecond_keep_the_order_of_joining(store, cast):
    moment = cast.now()
    entries = [msgspec.structs.replace(cast.entry(cast.guest(f"g{number}"), "tea"), at=moment) for number in range(5)]
    for entry in entries:
        await store.open_session(entry)
    assert [each.session_id for each in await store.sessions("tea")] == [entry.session_id for entry in entries]


async def test_joining_the_same_room_again_keeps_the_session_and_its_place(store, cast):
    ann, bob = await cast.user("ann"), await cast.user("bob")
    first = await cast.join(ann, "tea", socket_id="socket-1")
    await cast.join(bob, "tea")
    again = await cast.join(ann, "tea", socket_id="socket-1")
    assert (again.session_id, again.joined_at) == (first.session_id, first.joined_at)
    assert [each.who.username for each in await store.sessions("tea")] == ["ann", "bob"]
    assert await store.activity() == (2, 1)


async def test_first_session_sets_online_and_the_end_of_the_last_sets_offline(store, cast):
    ann = await cast.user("ann")
    assert not (await user(store, ann)).online
    first, second = await cast.join(ann, "tea"), await cast.join(ann, "cake")
    assert (await user(store, ann)).online
    ended = await store.close_session(first.session_id, cast.now())
    assert ended is not None
    assert not ended.last
    assert (await user(store, ann)).online
    moment = cast.now()
    ended = await store.close_session(second.session_id, moment)
    assert ended is not None
    assert (ended.last, ended.at) == (True, moment)
    assert ((await user(store, ann)).online, (await user(store, ann)).last_seen) == (False, moment)


async def test_ended_session_is_returned_once_with_its_data(store, cast):
    ann = await cast.user("ann")
    session, moment = await cast.join(ann, "tea"), cast.now()
    ended = await store.close_session(session.session_id, moment)
    assert ended is not None
    assert (ended.session.session_id, ended.session.socket_id) == (session.session_id, session.socket_id)
    assert (ended.session.room, ended.session.who, ended.session.joined_at) == ("tea", ann, session.joined_at)
    assert (ended.session.online, ended.session.last_seen) == (False, moment)
    assert await store.close_session(session.session_id, cast.now()) is None
    assert await store.sessions("tea") == []
    assert (await user(store, ann)).last_seen == moment


@pytest.mark.parametrize("session_id", ABSENT)
async def test_closing_an_unknown_or_malformed_session_finds_nothing(store, cast, session_id):
    assert await store.close_session(session_id, cast.now()) is None


async def test_sessions_closed_together_are_returned_in_order_of_joining(store, cast):
    ann, bob, gus = await cast.user("ann"), await cast.user("bob"), cast.guest("gus")
    opened = [await cast.join(who, room) for who, room in ((ann, "tea"), (bob, "cake"), (gus, "tea"), (ann, "cake"))]
    ids = [session.session_id for session in opened]
    moment = cast.now()
    ended = await store.close_sessions([ids[2], *ABSENT, ids[0], ids[1].upper()], moment)
    assert [each.session.session_id for each in ended] == ids[:3]
    assert [each.last for each in ended] == [False, True, True]
    assert all(each.at == moment for each in ended)
    assert (await user(store, ann)).online
    assert ((await user(store, bob)).online, (await user(store, bob)).last_seen) == (False, moment)
    assert [each.session_id for each in await store.sessions("cake")] == [ids[3]]
    assert await store.close_sessions(ids[:3], cast.now()) == []
    assert await store.close_sessions([], cast.now()) == []


async def test_sessions_of_a_user_closed_together_are_all_marked_as_the_last(store, cast):
    ann = await cast.user("ann")
    ids = [(await cast.join(ann, room)).session_id for room in ("tea", "cake")]
    assert [each.last for each in await store.close_sessions(ids, cast.now())] == [True, True]
    assert not (await user(store, ann)).online


async def test_sessions_of_thousands_of_sockets_can_be_closed_together(store, cast):
    ids = [(await cast.join(cast.guest(f"g{number}"), "tea")).session_id for number in range(1500)]
    ended = await store.close_sessions(ids, cast.now())
    assert [each.session.session_id for each in ended] == ids
    assert await store.activity() == (0, 0)


async def test_sessions_of_an_account_are_returned_in_order_of_joining(store, cast):
    ann, bob = await cast.user("ann"), await cast.user("bob")
    opened = [await cast.join(who, room) for who, room in ((ann, "tea"), (bob, "tea"), (ann, "cake"))]
    assert [each.session_id for each in await store.user_sessions(ann.user_id)] == [
        opened[0].session_id,
        opened[2].session_id,
    ]
    assert (await store.user_sessions(bob.user_id))[0].who == bob
    assert await store.user_sessions((await cast.user("cleo")).user_id) == []


@pytest.mark.parametrize("user_id", [*ABSENT, "guest-gus"])
async def test_unknown_account_has_no_sessions(store, cast, user_id):
    await cast.join(cast.guest("gus"), "tea")
    assert await store.user_sessions(user_id) == []


async def test_socket_may_join_again_after_leaving(store, cast):
    ann = await cast.user("ann")
    first = await cast.join(ann, "tea", socket_id="socket-1")
    await store.close_session(first.session_id, cast.now())
    second = await cast.join(ann, "cake", socket_id="socket-1")
    assert second.session_id != first.session_id
    assert await store.sessions("tea") == []
    assert await store.sessions("cake") == [second]


async def test_guests_are_distinguished_by_id_and_not_by_name(store, cast):
    await cast.join(cast.guest("gus", "guest-1"), "tea")
    await cast.join(cast.guest("gus", "guest-2"), "tea")
    one = await cast.join(cast.guest("gus", "guest-1"), "tea")
    assert (await store.room_stats("tea")).active_users == 2
    ended = await store.close_session(one.session_id, cast.now())
    assert ended is not None
    assert not ended.last


async def test_guest_is_online_and_its_last_session_is_marked_as_the_last(store, cast):
    session = await cast.join(cast.guest("gus"), "tea")
    assert (session.who, session.online, session.last_seen) == (cast.guest("gus"), True, None)
    ended = await store.close_session(session.session_id, cast.now())
    assert ended is not None
    assert (ended.last, ended.session.who) == (True, cast.guest("gus"))


async def test_sessions_show_the_current_profile_and_presence(store, cast):
    ann = await cast.user("ann")
    await cast.join(ann, "tea")
    await store.update_user(ann.user_id, UserChanges(display_name="Ann the Second", avatar="https://example.org/2"))
    moment = cast.now()
    await store.set_online(ann.user_id, False, moment)
    (session,) = await store.sessions("tea")
    assert (session.who.display_name, session.who.avatar) == ("Ann the Second", "https://example.org/2")
    assert (session.online, session.last_seen) == (False, moment)


async def test_further_session_sets_online_again(store, cast):
    ann = await cast.user("ann")
    await cast.join(ann, "tea")
    await store.set_online(ann.user_id, False, cast.now())
    session = await cast.join(ann, "cake")
    assert session.online
    assert ((await user(store, ann)).online, (await user(store, ann)).last_seen) == (True, session.joined_at)


async def test_deleted_account_can_not_join_and_leaves_no_trace(store, cast):
    ann = await cast.user("ann")
    await store.delete_user(ann.user_id, cast.now())
    with pytest.raises(UserNotFound):
        await store.open_session(cast.entry(ann, "tea"))
    assert await store.sessions("tea") == []
    assert "tea" not in {room.name for room in await store.rooms()}


async def test_socket_ids_may_be_any_text(store, cast):
    for socket_id in ("x", "a-_/+=", "z" * 200):
        session = await cast.join(cast.guest("gus"), "tea", socket_id=socket_id)
        assert session.socket_id == socket_id
    assert len(await store.sessions("tea")) == 3


async def test_newest_sessions_come_in_order_of_joining_with_the_total_count(store, cast):
    ann = await cast.user("ann")
    opened = [await cast.join(who, "tea") for who in (ann, cast.guest("gus"), cast.guest("eve"), ann)]
    await cast.join(ann, "cake")
    sessions, count = await store.newest_sessions("tea", 3)
    assert ([each.session_id for each in sessions], count) == ([each.session_id for each in opened[1:]], 4)
    assert (await store.newest_sessions("tea", 10))[0] == await store.sessions("tea")
    assert await store.newest_sessions("nowhere", 3) == ([], 0)
