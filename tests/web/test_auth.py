"""Registering, logging in, logging out (contract §3 and §4)."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from chatsys.chat.bundle import ChatLimits, open_chat
from chatsys.web import make_app
from tests.web.conftest import SECRET, bearer, client_of, without_store

PUBLIC = {"userId", "username", "displayName", "avatar", "bio", "status", "lastSeen", "createdAt"}
GOOD = {"username": "alice_1", "email": "Alice@Example.ORG", "password": "secret"}
INVALID = {"success": False, "message": "Invalid credentials"}


async def errors_of(client, **fields):
    answer = await client.post("/api/auth/register", json={**GOOD, **fields})
    assert answer.status_code == 400
    body = answer.json()
    assert body["message"] == "Validation failed"
    assert body["success"] is False
    return body["errors"]


async def test_registration_returns_the_own_profile_and_a_token(client):
    answer = await client.post("/api/auth/register", json=GOOD)
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"success", "message", "user", "token"}
    assert body["message"] == "User registered successfully"
    user = body["user"]
    assert set(user) == PUBLIC | {"email"}
    assert user["displayName"] == user["username"] == "alice_1"
    assert user["email"] == "alice@example.org"
    assert user["avatar"] == "https://ui-avatars.com/api/?name=alice_1&background=667eea&color=fff"
    assert (user["bio"], user["status"], user["lastSeen"]) == ("", "offline", None)


@pytest.mark.parametrize("absent", [None, ""])
async def test_optional_fields_that_are_null_or_empty_take_their_default(client, absent):
    answer = await client.post(
        "/api/auth/register", json={**GOOD, "displayName": absent, "avatar": absent, "bio": absent}
    )
    user = answer.json()["user"]
    assert (user["displayName"], user["bio"]) == ("alice_1", "")
    assert user["avatar"].startswith("https://ui-avatars.com/")


async def test_optional_fields_are_kept_as_sent(client):
    profile = {"displayName": " Alice & Bob <b> ", "avatar": "data:x", "bio": "b" * 5000}
    user = (await client.post("/api/auth/register", json={**GOOD, **profile})).json()["user"]
    assert {name: user[name] for name in profile} == profile


@without_store
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"username": None}, "Username is required"),
        ({"username": "  "}, "Username is required"),
        ({"username": "ab"}, "Username must be at least 3 characters long"),
        ({"username": "a" * 31}, "Username must not exceed 30 characters"),
        ({"username": "al ice"}, "Username can only contain letters, numbers, and underscores"),
        ({"username": " alice"}, "Username can only contain letters, numbers, and underscores"),
        ({"username": "alice\n"}, "Username can only contain letters, numbers, and underscores"),
        ({"username": "älice"}, "Username can only contain letters, numbers, and underscores"),
        ({"username": "٣٣٣"}, "Username can only contain letters, numbers, and underscores"),
        ({"email": None}, "Email is required"),
        ({"email": " "}, "Email is required"),
        ({"email": "a@b"}, "Invalid email format"),
        ({"email": "@b.c"}, "Invalid email format"),
        ({"email": "a@b@c.d"}, "Invalid email format"),
        ({"email": "a b@c.d"}, "Invalid email format"),
        ({"email": "a@b.c\n"}, "Invalid email format"),
        ({"email": "a@b."}, "Invalid email format"),
        ({"email": "a@" + "b" * 252 + ".c"}, "Email must not exceed 255 characters"),
        ({"password": None}, "Password is required"),
        ({"password": ""}, "Password is required"),
        ({"password": "12345"}, "Password must be at least 6 characters long"),
        ({"password": "x" * 101}, "Password must not exceed 100 characters"),
        ({"displayName": "x" * 101}, "Display name must not exceed 100 characters"),
    ],
)
async def test_first_rule_that_a_field_breaks_is_named(client, fields, expected):
    assert await errors_of(client, **fields) == [expected]


@without_store
@pytest.mark.parametrize("value", [1, True, 1.5, [], ["x"], {}, {"a": 1}])
@pytest.mark.parametrize("field", ["username", "email", "password", "displayName", "avatar", "bio"])
async def test_field_that_is_not_a_string_fails_validation(client, field, value):
    (error,) = await errors_of(client, **{field: value})
    assert error.endswith("must be a string")


async def test_errors_come_in_the_order_of_the_fields_one_per_field(client):
    assert await errors_of(client, bio=1, avatar=1, displayName=1, password="", email="", username="a b") == [
        "Username can only contain letters, numbers, and underscores",
        "Email is required",
        "Password is required",
        "Display name must be a string",
        "Avatar must be a string",
        "Bio must be a string",
    ]


async def test_length_limits_are_inclusive(client):
    longest = {"username": "a" * 30, "email": "a@" + "b" * 251 + ".c", "password": "x" * 100, "displayName": "é" * 100}
    assert (await client.post("/api/auth/register", json=longest)).status_code == 201
    assert (
        await client.post("/api/auth/register", json={"username": "abc", "email": "a@b.c", "password": "123456"})
    ).status_code == 201


@pytest.mark.parametrize("other", [{"username": "someone"}, {"email": "other@example.org"}])
async def test_taken_username_or_email_gives_400(client, other):
    await client.post("/api/auth/register", json=GOOD)
    answer = await client.post("/api/auth/register", json={**GOOD, **other})
    assert answer.status_code == 400
    assert answer.json() == {"success": False, "message": "Username or email already exists"}


async def test_usernames_that_differ_in_case_are_two_users(client):
    await client.post("/api/auth/register", json=GOOD)
    answer = await client.post("/api/auth/register", json={**GOOD, "username": "Alice_1", "email": "x@y.z"})
    assert answer.status_code == 201


async def test_exactly_one_of_many_simultaneous_registrations_succeeds(client):
    answers = await asyncio.gather(*(client.post("/api/auth/register", json=GOOD) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 7
    assert (await client.get("/api/users")).json()["total"] == 1


@pytest.mark.parametrize("name", ["alice_1", "  alice_1\t", "alice@example.org", "ALICE@example.org "])
async def test_login_accepts_username_or_email_in_any_letter_case(client, name):
    await client.post("/api/auth/register", json=GOOD)
    answer = await client.post("/api/auth/login", json={"username": name, "password": "secret"})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"success", "message", "user", "token"}
    assert body["message"] == "Login successful"
    assert set(body["user"]) == PUBLIC | {"email", "lastLogin"}
    assert body["user"]["lastLogin"] >= body["user"]["createdAt"]
    assert (await client.get("/api/auth/verify", headers=bearer(body["token"]))).status_code == 200


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice_1", "wrong!"),
        ("ALICE_1", "secret"),
        ("nobody", "secret"),
        ("nobody@example.org", "secret"),
        ("alice_1", " secret"),
        ("' OR 1=1 --", "secret"),
        ("x" * 10_000, "secret"),
        ("alice_1", "x" * 10_000),
    ],
)
async def test_unknown_user_and_wrong_password_give_the_same_401(client, name, password):
    await client.post("/api/auth/register", json=GOOD)
    answer = await client.post("/api/auth/login", json={"username": name, "password": password})
    assert (answer.status_code, answer.json()) == (401, INVALID)


@without_store
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, ["Username or email is required", "Password is required"]),
        ({"username": " ", "password": ""}, ["Username or email is required", "Password is required"]),
        ({"username": 1, "password": []}, ["Username or email is required", "Password is required"]),
        ({"username": "x"}, ["Password is required"]),
        ({"password": "x"}, ["Username or email is required"]),
        ({"username": None, "password": "x"}, ["Username or email is required"]),
    ],
)
async def test_login_says_which_field_is_missing(client, sent, expected):
    answer = await client.post("/api/auth/login", json=sent)
    assert answer.status_code == 400
    assert answer.json() == {"success": False, "message": "Validation failed", "errors": expected}


@pytest.mark.parametrize("field", ["username", "password"])
async def test_null_character_in_a_login_fails_validation(client, field):
    answer = await client.post("/api/auth/login", json={"username": "x", "password": "secret", field: "a\0b"})
    assert answer.status_code == 400
    assert answer.json()["message"] == "Validation failed"


async def fail(client, times, name="alice_1"):
    return [
        (await client.post("/api/auth/login", json={"username": name, "password": "wrong!"})).status_code
        for _ in range(times)
    ]


async def test_too_many_failed_logins_give_429_even_with_the_right_password(client):
    await client.post("/api/auth/register", json=GOOD)
    assert await fail(client, 3) == [401] * 3
    answer = await client.post("/api/auth/login", json={"username": "alice_1", "password": "secret"})
    assert answer.status_code == 429
    assert answer.json() == {"success": False, "message": "Too many failed login attempts"}
    assert 0 < int(answer.headers["retry-after"]) <= 900


async def test_failed_logins_from_one_address_do_not_lock_out_another(chat, client):
    await client.post("/api/auth/register", json=GOOD)
    await fail(client, 4)
    async with client_of(chat, address="192.0.2.2") as other:
        answer = await other.post("/api/auth/login", json={"username": "alice_1", "password": "secret"})
        assert answer.status_code == 200
    assert await fail(client, 1, "somebody_else") == [401]


async def test_concurrent_guesses_are_limited_to_the_same_number(client):
    await client.post("/api/auth/register", json=GOOD)
    wrong = [client.post("/api/auth/login", json={"username": "alice_1", "password": "wrong"}) for _ in range(6)]
    statuses = [answer.status_code for answer in await asyncio.gather(*wrong)]
    assert (statuses.count(401), statuses.count(429)) == (3, 3)


async def test_failure_count_does_not_reveal_whose_email_was_typed(client):
    await client.post("/api/auth/register", json=GOOD)
    assert await fail(client, 3) == [401] * 3
    assert await fail(client, 3, GOOD["email"]) == [401] * 3
    assert await fail(client, 1, GOOD["email"]) == [429]
    assert await fail(client, 4, "nobody_here") == [401, 401, 401, 429]


@without_store
async def test_logins_beyond_the_queue_give_503_and_other_addresses_are_served(store):
    limits = ChatLimits(passwords=2, login_attempts=100)
    async with open_chat(store, secret=SECRET, limits=limits) as chat, client_of(chat) as client:
        flood = [client.post("/api/auth/login", json={"username": "x", "password": "y"}) for _ in range(20)]
        flooding = asyncio.gather(*flood)
        await asyncio.sleep(0.01)
        async with client_of(chat, address="192.0.2.2") as other:
            assert (await other.post("/api/auth/register", json=GOOD)).status_code == 201
        answers = await flooding
    refused = [answer for answer in answers if answer.status_code == 503]
    assert 0 < len(refused) < 20
    assert refused[0].json() == {"success": False, "message": "Service temporarily unavailable"}
    assert int(refused[0].headers["retry-after"]) > 0


@without_store
async def test_login_of_a_disconnected_client_is_dropped(chat):
    body = b'{"username":"x","password":"y"}'
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "raw_path": b"/api/auth/login", "query_string": b"", "headers": headers}
    sent = []

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0)
        return parts.pop(0)

    async def send(message) -> None:
        sent.append(message)

    async with contextlib.AsyncExitStack() as busy:
        for _ in range(max(2, os.cpu_count() or 2) + 1):  # no slot is free
            await busy.enter_async_context(chat.passwords.slot("192.0.2.9"))
        parts = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
        await make_app(chat)({**scope, "client": ("192.0.2.1", 1)}, receive, send)
    assert sent[0]["status"] == 499


async def test_successful_login_resets_the_count(client):
    await client.post("/api/auth/register", json=GOOD)
    for _ in range(3):
        assert await fail(client, 2) == [401, 401]
        answer = await client.post("/api/auth/login", json={"username": "alice_1", "password": "secret"})
        assert answer.status_code == 200


@pytest.mark.parametrize("headers", [{}, bearer("garbage")])
async def test_logout_always_succeeds(client, headers):
    answer = await client.post("/api/auth/logout", headers=headers, content=b"{")
    assert answer.status_code == 200
    assert answer.json() == {"success": True, "message": "Logout successful"}
