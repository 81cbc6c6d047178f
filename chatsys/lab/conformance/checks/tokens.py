"""§2: what a token contains, where the server reads it, and how long it is valid."""

from __future__ import annotations

import base64
import json
from typing import Any

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import TEXT, WHOLE, CheckFailed, conform, same, short, true

VERIFY = "/api/auth/verify"
INVALID = "Invalid or expired token"


def part(token: str, number: int) -> dict[str, Any]:
    """The header (0) or the claims (1) of a JWT. Raises CheckFailed if the token is not a JWT."""
    try:
        text = token.split(".")[number]
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (IndexError, ValueError):
        raise CheckFailed(f"{short(token)} is not a JWT") from None
    if not isinstance(value, dict):
        raise CheckFailed(f"a part of the token is {short(value)}")
    return value


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@check("2.1", 'A token is a JWT with the header `{"alg": "HS256", "typ": "JWT"}`, signed with `JWT_SECRET`.')
async def tokens_are_hs256(probe: CheckProbe) -> None:
    account = await probe.account()
    same(part(account.token, 0), {"alg": "HS256", "typ": "JWT"}, "the token's header")


@check("2.1", "Its claims are `userId`, `username` and `email`, strings, and `iat` and `exp`, whole seconds.")
async def tokens_have_five_claims(probe: CheckProbe) -> None:
    account = await probe.account()
    shape = {"userId": account.user_id, "username": account.username, "email": TEXT, "iat": WHOLE, "exp": WHOLE}
    conform(part(account.token, 1), shape, "the claims")


@check("2.1", "Without `JWT_EXPIRES_IN` it lives for seven days: `exp - iat` is 604800.")
async def tokens_live_for_seven_days(probe: CheckProbe) -> None:
    claims = part((await probe.account()).token, 1)
    same(claims["exp"] - claims["iat"], 604_800, "exp - iat (604800 unless JWT_EXPIRES_IN is set)")


@check("2.2", "The token is the second word of `Authorization`, whose first word may be in any letter case.")
async def authorization_is_read_in_any_case(probe: CheckProbe) -> None:
    account = await probe.account()
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = await probe.http.get(VERIFY, headers={"Authorization": f"{scheme} {account.token}"})
        answer.is_status(200)


@check("2.2", "If that header is absent or has no second word, the token is `x-access-token`.")
async def x_access_token_is_read(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.http.get(VERIFY, headers={"x-access-token": account.token})).is_status(200)
    both = {"Authorization": "Bearer", "x-access-token": account.token}
    (await probe.http.get(VERIFY, headers=both)).is_status(200)


@check("2.2", "If that header is absent or has no second word, the token is `x-access-token`.")
async def authorization_goes_before_x_access_token(probe: CheckProbe) -> None:
    account = await probe.account()
    both = {"Authorization": "Bearer wrong", "x-access-token": account.token}
    (await probe.http.get(VERIFY, headers=both)).fails(401, INVALID)


@check("2.3", "A request without a token is answered with 401 `No token provided`.")
async def a_missing_token_is_401(probe: CheckProbe) -> None:
    (await probe.http.get(VERIFY)).fails(401, "No token provided")
    (await probe.http.get(VERIFY, headers={"Authorization": "Bearer"})).fails(401, "No token provided")


@check("2.3", "A token that does not verify is answered with 401 `Invalid or expired token`: text that is no token")
async def text_that_is_no_token_is_401(probe: CheckProbe) -> None:
    for text in ("garbage", "a.b.c", "..", "e30.e30.e30"):
        (await probe.http.get(VERIFY, token=text)).fails(401, INVALID)


@check("2.3", "a wrong signature")
async def a_wrong_signature_is_401(probe: CheckProbe) -> None:
    header, claims, signature = (await probe.account()).token.split(".")
    other = _encoded(part(f"{header}.{claims}.", 1) | {"username": "somebody"})
    (await probe.http.get(VERIFY, token=f"{header}.{other}.{signature}")).fails(401, INVALID)


@check("2.3", "an algorithm other than HS256, in particular `none`.")
async def the_algorithm_none_is_401(probe: CheckProbe) -> None:
    claims = (await probe.account()).token.split(".")[1]
    for algorithm in ("none", "None"):
        header = _encoded({"alg": algorithm, "typ": "JWT"})
        (await probe.http.get(VERIFY, token=f"{header}.{claims}.")).fails(401, INVALID)


@check("2.4", "On a public endpoint a token is optional, and a bad one is ignored.")
async def a_bad_token_is_ignored_on_public_endpoints(probe: CheckProbe) -> None:
    for path in ("/api/rooms", "/api/rooms/general/users", "/api/rooms/general/stats", "/api/health"):
        (await probe.http.get(path, token="garbage")).is_status(200)  # noqa: S106 - not a real token


@check("2.5", "after logout")
async def a_token_outlives_a_logout(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.http.post("/api/auth/logout", {}, token=account.token)).is_status(200)
    (await probe.http.get(VERIFY, token=account.token)).is_status(200)


@check("2.5", "after a change of password.")
async def a_token_outlives_a_new_password(probe: CheckProbe) -> None:
    account = await probe.account()
    fields = {"currentPassword": account.password, "newPassword": "another one"}
    (await probe.change(account, fields)).is_status(200)
    (await probe.http.get(VERIFY, token=account.token)).is_status(200)


@check("2.6", "Any password of 6 to 100 characters works, also one of more than 72 bytes.")
async def short_and_long_passwords_work(probe: CheckProbe) -> None:
    for password in ("123456", "p" * 100, "ü\u2603" * 40):
        account = await probe.account(password=password)
        (await probe.login(account.username, password)).is_status(200)


@check("2.6", "Passwords are stored as bcrypt hashes of cost 10 and never returned.")
async def passwords_are_never_returned(probe: CheckProbe) -> None:
    password = f"secret {probe.name()}"
    fields = probe.fields(password=password)
    registered = (await probe.register(fields)).is_status(201)
    for answer in (registered, await probe.login(fields["username"], password)):
        true(password not in answer.text, f"{answer.request} shows the password")
        true("$2" not in answer.text, f"{answer.request} shows a bcrypt hash")
