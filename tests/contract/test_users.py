"""Accounts: created once, found by id, name and email, changed only in the named fields."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.errors import UserExists
from chatsys.model.values import UserChanges

UNKNOWN = "018f0000-0000-7000-8000-000000000000"
MALFORMED = [
    "",
    "search",
    "guest-1",
    "018f",
    "0" * 32,
    "{018f0000-0000-7000-8000-000000000000}",
    "x" * 36,
    "\u0130" * 36,
]


async def test_new_account_is_returned_as_it_was_given(store, cast):
    user = cast.account("ann", display_name="Ann O'Nym", bio="50% \\ _", avatar="https://example.org/a.png")
    assert await store.create_user(user) == user
    assert await store.user_by_id(user.user_id) == user
    assert await store.user_by_name("ann") == user
    assert await store.user_by_email("ann@example.org") == user


async def test_email_is_found_in_any_letter_case_and_username_only_exactly(store, cast):
    user = await store.create_user(cast.account("Bob"))
    assert await store.user_by_email("BOB@Example.ORG") == user
    assert await store.user_by_name("bob") is None


async def test_usernames_that_differ_in_letter_case_are_two_users(store, cast):
    await cast.user("Bob", email="one@example.org")
    await cast.user("bob", email="two@example.org")
    assert {user.username for user in await store.list_users(10)} == {"Bob", "bob"}


@pytest.mark.parametrize("fields", [{"username": "taken"}, {"email": "taken@example.org"}])
async def test_taken_name_or_email_is_refused_and_nothing_is_stored(store, cast, fields):
    first = await store.create_user(cast.account("taken"))
    second = cast.account(fields.get("username", "other"), email=fields.get("email", "other@example.org"))
    with pytest.raises(UserExists):
        await store.create_user(second)
    assert await store.user_by_id(second.user_id) is None
    assert await store.list_users(10) == [first]


async def test_id_is_found_in_either_letter_case(store, cast):
    ann = await cast.user("ann")
    found = await store.user_by_id(ann.user_id.upper())
    assert found is not None
    assert found.user_id == ann.user_id


@pytest.mark.parametrize("user_id", [UNKNOWN, *MALFORMED])
async def test_unknown_or_malformed_id_finds_nothing(store, cast, user_id):
    assert await store.user_by_id(user_id) is None
    assert await store.update_user(user_id, UserChanges(bio="x")) is None
    assert await store.record_login(user_id, cast.now()) is None
    assert await store.set_online(user_id, True, cast.now()) is None
    assert await store.delete_user(user_id, cast.now()) is None


@pytest.mark.parametrize("name", ["", "nobody", "'; --", "a" * 5000, "\U0001f600"])
async def test_unknown_name_or_email_finds_nothing(store, name):
    assert await store.user_by_name(name) is None
    assert await store.user_by_email(name) is None


async def test_users_are_listed_newest_first_up_to_the_limit(store, cast):
    for name in ("one", "two", "three"):
        await cast.user(name)
    assert [user.username for user in await store.list_users(10)] == ["three", "two", "one"]
    assert [user.username for user in await store.list_users(2)] == ["three", "two"]
    assert await store.list_users(0) == []


async def test_users_of_the_same_millisecond_are_listed_by_descending_id(store, cast):
    moment = cast.now()
    people = [await cast.user(f"user{number}", created_at=moment) for number in range(5)]
    expected = sorted((person.user_id for person in people), reverse=True)
    assert [user.user_id for user in await store.list_users(5)] == expected
    assert [user.user_id for user in await store.list_users(2)] == expected[:2]


async def test_only_the_named_fields_change(store, cast):
    before = await store.create_user(cast.account("ann", bio="old"))
    after = await store.update_user(before.user_id, UserChanges(display_name="Ann", avatar="", bio=""))
    assert after is not None
    assert (after.display_name, after.avatar, after.bio) == ("Ann", "", "")
    assert after.password_hash == before.password_hash
    assert await store.user_by_id(before.user_id) == after
    assert await store.update_user(before.user_id, UserChanges()) == after
    hashed = await store.update_user(before.user_id, UserChanges(password_hash="$2b$10$" + "y" * 53))
    assert hashed is not None
    assert hashed.password_hash == "$2b$10$" + "y" * 53
    assert hashed.bio == ""


async def test_login_is_recorded_with_its_time(store, cast):
    ann, moment = await cast.user("ann"), cast.now()
    user = await store.record_login(ann.user_id, moment)
    assert user is not None
    assert user.last_login == moment
    assert await store.user_by_id(ann.user_id) == user


async def test_status_and_last_seen_are_set_together(store, cast):
    ann = await cast.user("ann")
    for online in (True, False):
        moment = cast.now()
        user = await store.set_online(ann.user_id, online, moment)
        assert user is not None
        assert (user.online, user.last_seen) == (online, moment)
        assert await store.user_by_id(ann.user_id) == user


@pytest.mark.parametrize("shared", ["username", "email"])
async def test_one_of_many_simultaneous_accounts_of_a_name_or_email_is_stored(store, cast, shared):
    values = [{"username": f"name{number}", "email": f"{number}@example.org"} for number in range(20)]
    rivals = [cast.account(**value | {shared: "same@example.org" if shared == "email" else "same"}) for value in values]
    outcomes = await asyncio.gather(*map(store.create_user, rivals), return_exceptions=True)
    stored = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(stored) == 1
    assert all(isinstance(outcome, UserExists) for outcome in outcomes if isinstance(outcome, BaseException))
    assert await store.list_users(30) == stored


async def test_times_are_returned_in_utc_with_milliseconds(store, cast):
    user = cast.account("ann", created_at=cast.now(), last_login=cast.now(), last_seen=cast.now())
    await store.create_user(user)
    found = await store.user_by_id(user.user_id)
    assert found == user
    assert found is not None
    assert found.created_at.utcoffset() is not None
    assert not found.created_at.utcoffset()
