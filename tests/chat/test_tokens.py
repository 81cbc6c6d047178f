"""Tokens: valid only if this secret signed them with HS256 and they have not expired."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from chatsys.chat.tokens import Tokens
from chatsys.errors import TokenExpired, TokenInvalid
from chatsys.model.values import User

SECRET = "s" * 32
USER = User(
    user_id="018f0000-0000-7000-8000-000000000000",
    username="ann",
    email="ann@example.org",
    password_hash="",
    display_name="Ann",
    avatar="",
    bio="",
    online=False,
    last_seen=None,
    created_at=datetime(2031, 1, 1, tzinfo=UTC),
    last_login=None,
)
CLAIMS = {"userId": USER.user_id, "username": "ann", "email": "ann@example.org", "iat": 1, "exp": 9_999_999_999}


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET, timedelta(days=7))


def encoded(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(claims: dict[str, object], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


def test_token_has_the_documented_header_and_claims(tokens):
    now = datetime.now(UTC)
    token = tokens.issue(USER, now)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    issued = int(now.timestamp())
    assert tokens.verify(token) == CLAIMS | {"iat": issued, "exp": issued + 604_800}


def test_token_of_the_same_secret_is_valid_in_another_process(tokens):
    assert Tokens(SECRET, timedelta(seconds=1)).verify(tokens.issue(USER, datetime.now(UTC)))["username"] == "ann"


def test_token_of_a_server_with_a_fast_clock_is_valid(tokens):
    tokens.verify(tokens.issue(USER, datetime.now(UTC) + timedelta(minutes=5)))


def test_expired_token_is_refused(tokens):
    with pytest.raises(TokenInvalid):
        tokens.verify(tokens.issue(USER, datetime.now(UTC) - timedelta(days=7, seconds=1)))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "garbage",
        "a.b.c",
        "..",
        "\ud800",
        "ü.ü.ü",
        signed(CLAIMS, "t" * 32),
        signed(CLAIMS, "s" * 64, "HS512"),
        signed(CLAIMS, "s" * 64, "HS384"),
        f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(CLAIMS)}.",
        f"{encoded({'alg': 'none'})}.{encoded(CLAIMS)}.{signed(CLAIMS).split('.')[2]}",
        f"{encoded(b'[' * 40_000)}.{encoded(CLAIMS)}.x",
        f"{encoded({'alg': 'HS256', 'crit': ['x'], 'b64': False})}.{encoded(CLAIMS)}.x",
        signed(CLAIMS)[:-2],
        signed(CLAIMS).rpartition(".")[0],
        signed({name: value for name, value in CLAIMS.items() if name != "exp"}),
        signed({name: value for name, value in CLAIMS.items() if name != "iat"}),
        signed({name: value for name, value in CLAIMS.items() if name != "userId"}),
        signed(CLAIMS | {"userId": 7}),
        signed(CLAIMS | {"email": None}),
        signed(CLAIMS | {"exp": "soon"}),
        signed(CLAIMS | {"exp": 1}),
    ],
)
def test_token_that_does_not_verify_is_refused_with_one_reason(tokens, token):
    with pytest.raises(TokenInvalid):
        tokens.verify(token)


def test_token_with_a_changed_payload_is_refused(tokens):
    header, _, signature = signed(CLAIMS).split(".")
    with pytest.raises(TokenInvalid):
        tokens.verify(f"{header}.{encoded(CLAIMS | {'userId': 'other'})}.{signature}")


def test_previous_secret_verifies_tokens_and_signs_none():
    old, new = Tokens(SECRET, timedelta(days=7)), "n" * 32
    rotating = Tokens(new, timedelta(days=7), SECRET)
    now = datetime.now(UTC)
    assert rotating.verify(old.issue(USER, now))["userId"] == USER.user_id
    token = rotating.issue(USER, now)
    assert rotating.verify(token)["userId"] == USER.user_id
    with pytest.raises(TokenInvalid):
        old.verify(token)
    with pytest.raises(TokenInvalid):
        rotating.verify(Tokens("x" * 32, timedelta(days=7)).issue(USER, now))


@pytest.mark.parametrize("secret", [SECRET, "n" * 32])
def test_expired_token_is_distinguished_from_an_invalid_one(secret):
    rotating = Tokens("n" * 32, timedelta(days=7), SECRET)
    expired = Tokens(secret, timedelta(seconds=-5)).issue(USER, datetime.now(UTC))
    with pytest.raises(TokenExpired):
        rotating.verify(expired)
    with pytest.raises(TokenInvalid) as refused:
        rotating.verify(expired + "x")
    assert not isinstance(refused.value, TokenExpired)
