"""Servers: registered, kept alive, retired with their sessions."""

from __future__ import annotations

import uuid_utils


def new_id() -> str:
    return str(uuid_utils.uuid7())


async def test_heartbeat_ends_no_session_of_a_live_server(store, cast):
    other = new_id()
    assert await store.register_server(other, cast.now()) == []
    session = await cast.join(await cast.user("ann"), "tea")
    for server_id in (cast.server_id, other, cast.server_id):
        assert await store.register_server(server_id, cast.now()) == []
    assert await store.sessions("tea") == [session]
    assert await store.retire_server(other, cast.now()) == []


async def test_retiring_a_server_ends_only_its_sessions_in_order_of_joining(store, cast):
    other = new_id()
    await store.register_server(other, cast.now())
    ann, bob, gus = await cast.user("ann"), await cast.user("bob"), cast.guest("gus")
    mine = await cast.join(ann, "tea")
    theirs = [await cast.join(who, room, server_id=other) for who, room in ((bob, "tea"), (ann, "cake"), (gus, "tea"))]
    moment = cast.now()
    ended = await store.retire_server(other, moment)
    assert [each.session.session_id for each in ended] == [each.session_id for each in theirs]
    assert [each.last for each in ended] == [True, False, True]
    assert all(each.at == moment for each in ended)
    assert [each.session_id for each in await store.sessions("tea")] == [mine.session_id]
    online = {user.username: user.online for user in await store.list_users(10)}
    assert online == {"ann": True, "bob": False}


async def test_sessions_that_end_together_are_all_marked_as_the_last(store, cast):
    other = new_id()
    await store.register_server(other, cast.now())
    ann = await cast.user("ann")
    for room in ("tea", "cake"):
        await cast.join(ann, room, server_id=other)
    moment = cast.now()
    ended = await store.retire_server(other, moment)
    assert [(each.session.room, each.last) for each in ended] == [("tea", True), ("cake", True)]
    user = await store.user_by_id(ann.user_id)
    assert user is not None
    assert (user.online, user.last_seen) == (False, moment)


async def test_retiring_twice_or_retiring_an_unknown_server_changes_nothing(store, cast):
    other = new_id()
    await store.register_server(other, cast.now())
    await store.retire_server(other, cast.now())
    assert await store.retire_server(other, cast.now()) == []
    assert await store.retire_server(new_id(), cast.now()) == []


async def test_retired_server_may_register_again(store, cast):
    await store.retire_server(cast.server_id, cast.now())
    assert await store.register_server(cast.server_id, cast.now()) == []
    session = await cast.join(cast.guest("gus"), "tea")
    assert await store.sessions("tea") == [session]


async def test_store_names_its_database_without_a_password(store):
    info = await store.ping()
    assert info.kind in {"memory", "postgresql"}
    assert "password" not in repr(info).lower()


async def test_every_answer_about_a_room_names_the_servers_that_have_it(store, cast):
    ann, bob, gus = await cast.user("ann"), await cast.user("bob"), cast.guest("gus")
    other, elsewhere = new_id(), new_id()
    for server_id in (other, elsewhere):
        await store.register_server(server_id, cast.now())
    await cast.join(ann, "tea")
    await cast.join(bob, "tea", server_id=other)
    await cast.join(gus, "cake", server_id=elsewhere)
    several = (await store.ping()).kind != "memory"
    here = {cast.server_id, other} if several else set()
    posted = await store.post_message(cast.new_message(ann, "tea"))
    message_id = posted.message.message_id
    entered = await store.open_session(cast.entry(gus, "tea"))
    answers = [
        posted,
        entered,
        await store.mark_delivered("tea", message_id, bob, cast.now()),
        await store.mark_read("tea", message_id, bob, cast.now()),
        await store.mark_some_read("tea", gus, cast.now()),
        await store.close_session(entered.session.session_id, cast.now()),
    ]
    assert [set(answer.servers) for answer in answers] == [here] * len(answers)
    await store.post_message(cast.new_message(ann, "tea"))
    assert set((await store.mark_some_read("tea", bob, cast.now())).servers) == here
    assert (await store.mark_some_read("tea", bob, cast.now())).servers == ()
