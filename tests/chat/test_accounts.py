"""Registering, logging in, changing and deleting accounts: the checks, their order, and the results."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from chatsys.chat import accounts, conversation
from chatsys.chat.fanout import SessionClosed
from chatsys.errors import (
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    StoreUnavailable,
    TokenInvalid,
    TokenMissing,
    TooManyAttempts,
    UserExists,
    UserNotFound,
    WrongPassword,
)

ADDRESS = "192.0.2.1"
VALID = {"username": "ann", "email": "ann@example.org", "password": "password"}


async def refused(coroutine) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        await coroutine
    return caught.value.errors


# -- registering


async def test_registered_user_has_the_defaults_and_a_token(chat):
    user, token = await accounts.register(chat, VALID | {"email": "Ann@Example.org", "displayName": "", "bio": None})
    assert (user.username, user.email, user.display_name, user.bio) == ("ann", "ann@example.org", "ann", "")
    assert user.avatar == "https://ui-avatars.com/api/?name=ann&background=667eea&color=fff"
    assert (user.online, user.last_seen, user.last_login) == (False, None, None)
    assert chat.tokens.verify(token)["userId"] == user.user_id
    assert await accounts.profile(chat, user.user_id) == user


async def test_password_is_stored_as_a_bcrypt_hash_of_cost_10(chat, real_cost):
    user, _ = await accounts.register(chat, VALID)
    assert user.password_hash.startswith("$2b$10$")
    assert "password" not in user.password_hash


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("username", None, "Username is required"),
        ("username", "  ", "Username is required"),
        ("username", 7, "Username must be a string"),
        ("username", "ab", "Username must be at least 3 characters long"),
        ("username", "a" * 31, "Username must not exceed 30 characters"),
        ("username", "ann o", "Username can only contain letters, numbers, and underscores"),
        ("username", " ann", "Username can only contain letters, numbers, and underscores"),
        ("username", "ann\n", "Username can only contain letters, numbers, and underscores"),
        ("username", "änn", "Username can only contain letters, numbers, and underscores"),
        ("username", "ann\0", "Username can only contain letters, numbers, and underscores"),
        ("username", "\u0661\u0662\u0663", "Username can only contain letters, numbers, and underscores"),
        ("email", "", "Email is required"),
        ("email", ["a@b.c"], "Email must be a string"),
        ("email", "a@b", "Invalid email format"),
        ("email", "a@b@c.d", "Invalid email format"),
        ("email", "a b@c.d", "Invalid email format"),
        ("email", "@c.d", "Invalid email format"),
        ("email", "a@.d", "Invalid email format"),
        ("email", "a@b.", "Invalid email format"),
        ("email", "a@b.c\n", "Invalid email format"),
        ("email", "a\0@b.c", "Invalid email format"),
        ("email", "a" * 252 + "@b.c", "Email must not exceed 255 characters"),
        ("email", "\u0130" * 200 + "@b.c", "Email must not exceed 255 characters"),
        ("password", "", "Password is required"),
        ("password", True, "Password must be a string"),
        ("password", "short", "Password must be at least 6 characters long"),
        ("password", "x" * 101, "Password must not exceed 100 characters"),
        ("password", "pass\0word", "Password must not contain a null character"),
        ("displayName", "x" * 101, "Display name must not exceed 100 characters"),
        ("displayName", {}, "Display name must be a string"),
        ("avatar", 1, "Avatar must be a string"),
        ("bio", "a\0b", "Bio must not contain a null character"),
    ],
)
async def test_each_validation_rule_has_its_own_message(chat, field, value, error):
    assert await refused(accounts.register(chat, VALID | {field: value})) == (error,)
    assert await accounts.newest_users(chat) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "a_9"),
        ("username", "A" * 30),
        ("email", "a@b.c.d"),
        ("email", "ü'%+tag@ex\u00e4mple.org"),
        ("email", "a" * 251 + "@b.c"),
        ("password", "6 char"),
        ("password", "\U0001f600" * 100),
        ("displayName", "\U0001f600" * 100),
        ("displayName", "   "),
        ("bio", "x" * 50_000),
    ],
)
async def test_registration_accepts_everything_that_the_rules_allow(chat, field, value):
    user, _ = await accounts.register(chat, VALID | {field: value})
    assert await accounts.profile(chat, user.user_id) == user


async def test_validation_gives_one_error_per_field_in_the_documented_order(chat):
    errors = await refused(accounts.register(chat, {"bio": 1, "avatar": 2, "displayName": 3, "password": "x"}))
    assert errors == (
        "Username is required",
        "Email is required",
        "Password must be at least 6 characters long",
        "Display name must be a string",
        "Avatar must be a string",
        "Bio must be a string",
    )


async def test_lone_surrogates_are_stored_as_the_replacement_character(chat):
    user, _ = await accounts.register(
        chat, VALID | {"displayName": "a\ud800b", "bio": "\udc00", "avatar": "\ud83d\ude00"}
    )
    assert (user.display_name, user.bio, user.avatar) == ("a\ufffdb", "\ufffd", "\U0001f600")


async def test_taken_name_is_refused_even_among_simultaneous_registrations(chat):
    fields = [VALID | {"email": f"{number}@example.org"} for number in range(6)]
    outcomes = await asyncio.gather(*(accounts.register(chat, each) for each in fields), return_exceptions=True)
    assert sum(isinstance(outcome, UserExists) for outcome in outcomes) == 5
    assert len(await accounts.newest_users(chat)) == 1


# -- logging in


@pytest.mark.parametrize("name", ["ann", "  ann\t", "ann@example.org", "ANN@Example.ORG"])
async def test_login_takes_the_username_or_the_email_in_any_letter_case(chat, people, name):
    registered, _ = await people.register("ann")
    user, token = await accounts.login(chat, {"username": name, "password": "password"}, ADDRESS)
    assert user.user_id == registered.user_id
    assert user.last_login is not None
    assert chat.tokens.verify(token)["username"] == "ann"
    assert (await accounts.profile(chat, user.user_id)).last_login == user.last_login


@pytest.mark.parametrize(
    ("name", "password"),
    [("ann", "wrong!"), ("ann", "Password"), ("ann", "x" * 500), ("ANN", "password"), ("eve", "password")],
)
async def test_wrong_name_and_a_wrong_password_give_the_same_answer(chat, people, name, password):
    await people.register("ann")
    with pytest.raises(InvalidCredentials):
        await accounts.login(chat, {"username": name, "password": password}, ADDRESS)


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({}, ("Username or email is required", "Password is required")),
        ({"username": " ", "password": ""}, ("Username or email is required", "Password is required")),
        ({"username": ["ann"], "password": 1}, ("Username or email is required", "Password is required")),
        ({"username": "a\0b"}, ("Username must not contain a null character", "Password is required")),
        ({"username": "ann", "password": "a\0b"}, ("Password must not contain a null character",)),
    ],
)
async def test_login_fields_are_validated_username_first(chat, fields, errors):
    assert await refused(accounts.login(chat, fields, ADDRESS)) == errors


@pytest.mark.parametrize("name", ["\ud800", "a\udfff@example.org", "x" * 90_000])
async def test_login_with_an_impossible_name_gives_wrong_credentials(chat, name):
    with pytest.raises(InvalidCredentials):
        await accounts.login(chat, {"username": name, "password": "password"}, ADDRESS)


async def fail(chat, name: str = "ann", address: str = ADDRESS) -> None:
    with pytest.raises(InvalidCredentials):
        await accounts.login(chat, {"username": name, "password": "wrong!"}, address)


async def test_too_many_failures_block_the_password_from_that_address_only(chat, people):
    await people.register("ann")
    for _ in range(3):
        await fail(chat)
    with pytest.raises(TooManyAttempts) as caught:
        await accounts.login(chat, {"username": "ann", "password": "password"}, ADDRESS)
    assert 0 < caught.value.retry_after <= 60
    await accounts.login(chat, {"username": "ann", "password": "password"}, "192.0.2.2")


async def test_failures_are_counted_by_typed_name_and_reveal_no_account(chat, people):
    await people.register("ann")
    for name in (" ann@example.org", "ANN@example.org", "Ann@Example.org "):
        await fail(chat, name)
    with pytest.raises(TooManyAttempts):
        await accounts.login(chat, {"username": "ann@example.org", "password": "password"}, ADDRESS)
    await accounts.login(chat, {"username": "ann", "password": "password"}, ADDRESS)


async def test_successful_login_resets_the_count(chat, people):
    await people.register("ann")
    for _ in range(3):
        for _ in range(2):
            await fail(chat)
        await accounts.login(chat, {"username": "ann", "password": "password"}, ADDRESS)


async def test_concurrent_guesses_are_limited_to_the_same_number(chat, people):
    await people.register("ann")
    guesses = [accounts.login(chat, {"username": "ann", "password": f"guess-{number}"}, ADDRESS) for number in range(8)]
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(outcome, InvalidCredentials) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, TooManyAttempts) for outcome in outcomes) == 5


async def test_failures_with_unknown_names_are_counted_too(chat):
    for _ in range(3):
        await fail(chat, "nobody")
    with pytest.raises(TooManyAttempts):
        await accounts.login(chat, {"username": "nobody", "password": "wrong!"}, ADDRESS)


# -- changing


async def test_update_checks_token_then_owner_then_account_then_fields(chat, people):
    user, token = await people.register("ann")
    bad = {"displayName": 7}
    with pytest.raises(TokenMissing):
        await accounts.change_profile(chat, None, user.user_id, bad)
    with pytest.raises(TokenInvalid):
        await accounts.change_profile(chat, "garbage", user.user_id, bad)
    with pytest.raises(Forbidden):
        await accounts.change_profile(chat, token, "no-such-id", bad)
    assert await refused(accounts.change_profile(chat, token, user.user_id, bad)) == ("Display name must be a string",)
    await accounts.delete_account(chat, token, user.user_id)
    with pytest.raises(UserNotFound):
        await accounts.change_profile(chat, token, user.user_id, bad)
    with pytest.raises(Forbidden):
        await accounts.change_profile(chat, token, "no-such-id", bad)


async def test_update_changes_only_the_fields_that_were_sent(chat, people):
    user, token = await people.register("ann", bio="old", displayName="Ann")
    same = await accounts.change_profile(chat, token, user.user_id, {})
    assert same == user
    ignored = {
        "username": "eve",
        "email": "e@e.e",
        "password": "hacked!",
        "status": "online",
        "userId": "x",
        "bio": None,
    }
    assert await accounts.change_profile(chat, token, user.user_id, ignored) == user
    changed = await accounts.change_profile(chat, token, user.user_id, {"bio": "new"})
    assert (changed.bio, changed.display_name, changed.avatar) == ("new", "Ann", user.avatar)
    assert await accounts.profile(chat, user.user_id) == changed


async def test_update_with_an_empty_text_sets_the_default(chat, people):
    user, token = await people.register("ann", bio="old", displayName="Ann", avatar="https://example.org/a")
    changed = await accounts.change_profile(chat, token, user.user_id, {"bio": "", "displayName": "", "avatar": ""})
    assert (changed.bio, changed.display_name) == ("", "ann")
    assert changed.avatar == "https://ui-avatars.com/api/?name=ann&background=667eea&color=fff"


async def test_password_changes_only_when_both_fields_are_sent(chat, people):
    user, token = await people.register("ann")
    for fields in ({"newPassword": "another"}, {"currentPassword": "wrong!"}, {"newPassword": "x", "bio": "b"}):
        changed = await accounts.change_profile(chat, token, user.user_id, fields)
        assert changed.password_hash == user.password_hash
    assert changed.bio == "b"
    both = {"currentPassword": "password", "newPassword": "another"}
    await accounts.change_profile(chat, token, user.user_id, both)
    await accounts.login(chat, {"username": "ann", "password": "another"}, ADDRESS)
    await fail(chat)


async def test_wrong_current_password_changes_nothing_at_all(chat, people):
    user, token = await people.register("ann")
    fields = {"currentPassword": "wrong!", "newPassword": "another", "bio": "new", "displayName": "New"}
    with pytest.raises(WrongPassword):
        await accounts.change_profile(chat, token, user.user_id, fields)
    assert await accounts.profile(chat, user.user_id) == user


@pytest.mark.parametrize("new", ["", "short", "x" * 101, 7, "pass\0word"])
async def test_new_password_must_follow_the_rules_or_nothing_changes(chat, people, new):
    user, token = await people.register("ann")
    fields = {"currentPassword": "password", "newPassword": new, "bio": "new"}
    assert len(await refused(accounts.change_profile(chat, token, user.user_id, fields))) == 1
    assert await accounts.profile(chat, user.user_id) == user


async def test_token_stays_valid_after_a_password_change_and_after_deletion(chat, people):
    user, token = await people.register("ann")
    both = {"currentPassword": "password", "newPassword": "another"}
    await accounts.change_profile(chat, token, user.user_id, both)
    assert accounts.claims_of(chat, token)["userId"] == user.user_id
    await accounts.delete_account(chat, token, user.user_id)
    assert accounts.claims_of(chat, token)["userId"] == user.user_id


# -- deleting and finding


async def test_deletion_checks_the_token_and_the_owner_and_works_once(chat, people):
    user, token = await people.register("ann")
    with pytest.raises(TokenMissing):
        await accounts.delete_account(chat, None, user.user_id)
    with pytest.raises(Forbidden):
        await accounts.delete_account(chat, token, user.user_id + "x")
    await accounts.delete_account(chat, token, user.user_id)
    with pytest.raises(UserNotFound):
        await accounts.delete_account(chat, token, user.user_id)
    with pytest.raises(UserNotFound):
        await accounts.profile(chat, user.user_id)
    await fail(chat)


async def test_rooms_are_notified_of_a_deleted_user_after_the_deletion(chat, people, fanout):
    user, token = await people.register("ann")
    sessions = [await people.join(room, token=token) for room in ("tea", "cake")]
    fanout.take()
    fanout.stored.clear()
    await accounts.delete_account(chat, token, user.user_id)
    events = fanout.take()
    assert [type(event) for event in events] == [SessionClosed, SessionClosed]
    assert [event.ended.session.session_id for event in events] == [each.session_id for each in sessions]
    assert all(present == [] for _, present, _ in fanout.stored)


async def test_search_is_literal_and_a_null_character_finds_nobody(chat, people):
    await people.register("ann", displayName="100%")
    assert [user.username for user in await accounts.search(chat, "0%")] == ["ann"]
    assert await accounts.search(chat, "a\0") == []
    assert await accounts.search(chat, "\ud800") == []


async def test_deletion_whose_server_died_is_finished_by_another_server(chat, people, monkeypatch):
    user, token = await people.register("ann")
    session = await people.join("tea", token=token)
    await conversation.send(chat, session, "hello")
    with monkeypatch.context() as broken:

        async def die(*_: object) -> bool:
            raise StoreUnavailable

        broken.setattr(chat.store, "purge_user", die)
        with pytest.raises(StoreUnavailable):
            await accounts.delete_account(chat, token, user.user_id)
    with pytest.raises(UserNotFound):
        await accounts.profile(chat, user.user_id)
    await accounts.finish_deletions(chat)
    assert len(await chat.store.history("tea", 10)) == 1  # it may still be in progress on another server
    monkeypatch.setattr(accounts, "DELETION_AGE", timedelta(seconds=-60))
    await accounts.finish_deletions(chat)
    assert await chat.store.history("tea", 10) == []
    with pytest.raises(UserNotFound):
        await accounts.delete_account(chat, token, user.user_id)
