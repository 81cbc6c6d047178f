"""Tokens: their form, where they are read, what is refused (contract §2)."""

from __future__ import annotations

import time

import bcrypt
import jwt
import pytest

from tests.web.conftest import SECRET, bearer, without_store

MISSING = (401, {"success": False, "message": "No token provided"})
INVALID = (401, {"success": False, "message": "Invalid or expired token"})
CLAIMS = {"userId": "u", "username": "n", "email": "e", "iat": 1}


async def verify(client, headers):
    answer = await client.get("/api/auth/verify", headers=headers)
    return answer.status_code, answer.json()


async def test_token_is_hs256_with_five_claims_and_lives_seven_days(account):
    owner = await account("alice")
    assert jwt.get_unverified_header(owner["token"]) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(owner["token"], SECRET, algorithms=["HS256"])
    assert {name: claims[name] for name in ("userId", "username", "email")} == {
        "userId": owner["userId"],
        "username": "alice",
        "email": "alice@example.org",
    }
    assert set(claims) == {"userId", "username", "email", "iat", "exp"}
    assert type(claims["iat"]) is type(claims["exp"]) is int
    assert claims["exp"] - claims["iat"] == 604_800


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_token_is_the_second_word_of_authorization_in_any_letter_case(client, account, scheme):
    token = (await account("bob"))["token"]
    status, body = await verify(client, {"authorization": f"{scheme} {token}"})
    assert status == 200
    assert body["success"] is True
    assert body["message"] == "Token is valid"
    assert body["user"] == jwt.decode(token, SECRET, algorithms=["HS256"])


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer "])
async def test_x_access_token_is_used_if_authorization_has_no_second_word(client, account, authorization):
    headers = {"x-access-token": (await account("carol"))["token"]}
    if authorization is not None:
        headers["authorization"] = authorization
    assert (await verify(client, headers))[0] == 200


async def test_authorization_wins_over_x_access_token(client, account):
    headers = {"authorization": "Bearer garbage", "x-access-token": (await account("dave"))["token"]}
    assert await verify(client, headers) == INVALID


@without_store
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer"}, {"x-access-token": ""}])
async def test_missing_token_is_reported(client, headers):
    assert await verify(client, headers) == MISSING
    for method in ("PUT", "DELETE"):
        answer = await client.request(method, "/api/users/x", headers=headers)
        assert (answer.status_code, answer.json()) == MISSING


def refused_tokens():
    now = int(time.time())
    fresh = {**CLAIMS, "iat": now, "exp": now + 60}
    yield "garbage", "garbage"
    yield "three dots", "a.b.c"
    yield "another secret", jwt.encode(fresh, "another secret that is long enough too", "HS256")
    yield "expired", jwt.encode({**CLAIMS, "exp": now - 1}, SECRET, "HS256")
    yield "no expiry", jwt.encode({**CLAIMS, "iat": now}, SECRET, "HS256")
    yield "alg none", jwt.encode(fresh, None, "none")
    yield "another HMAC", jwt.encode(fresh, SECRET + " " * 64, "HS512")
    yield "claims missing", jwt.encode({"exp": now + 60, "iat": now}, SECRET, "HS256")
    yield "claims of another type", jwt.encode({**fresh, "userId": 1}, SECRET, "HS256")
    yield "not text", "\u00e9\u00ff"


@without_store
@pytest.mark.parametrize("token", [pytest.param(token, id=name) for name, token in refused_tokens()])
async def test_token_that_does_not_verify_is_refused(client, token):
    headers = {"authorization": f"Bearer {token}".encode("latin-1")}
    assert await verify(client, headers) == INVALID
    for method in ("PUT", "DELETE"):
        answer = await client.request(method, "/api/users/x", headers=headers)
        assert (answer.status_code, answer.json()) == INVALID


@pytest.mark.parametrize("path", ["/", "/api/users", "/api/rooms", "/api/users/search/x"])
async def test_public_endpoints_ignore_a_bad_token(client, path):
    assert (await client.get(path, headers=bearer("garbage"))).status_code == 200


async def test_token_outlives_logout_and_a_password_change(client, account):
    owner = await account("erin")
    headers = bearer(owner["token"])
    assert (await client.post("/api/auth/logout", headers=headers)).status_code == 200
    passwords = {"currentPassword": owner["password"], "newPassword": "another secret"}
    assert (await client.put(f"/api/users/{owner['userId']}", headers=headers, json=passwords)).status_code == 200
    assert (await verify(client, headers))[0] == 200


async def test_passwords_are_stored_as_bcrypt_hashes_of_cost_10(store, account, real_cost):
    owner = await account("frank")
    stored = (await store.user_by_id(owner["userId"])).password_hash
    assert stored.startswith("$2b$10$")
    assert bcrypt.checkpw(owner["password"].encode(), stored.encode())


async def test_password_may_have_100_characters_of_any_kind(client):
    password = "\U0001f512" * 100
    sent = {"username": "grace", "email": "g@example.org", "password": password}
    assert (await client.post("/api/auth/register", json=sent)).status_code == 201
    login = {"username": "grace", "password": password}
    assert (await client.post("/api/auth/login", json=login)).status_code == 200
