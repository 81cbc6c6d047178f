"""§4.2 to §4.4: login, verify, logout."""

from __future__ import annotations

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.checks.tokens import part
from chatsys.lab.conformance.probe import PASSWORD, CheckProbe
from chatsys.lab.conformance.shapes import PROFILE, TEXT, TIMESTAMP, same, true

NO_USERNAME, NO_PASSWORD = "Username or email is required", "Password is required"
REFUSED = "Invalid credentials"
_USERNAME, _PASSWORD = (
    "A `username` that is absent, blank or no string is answered with 400 `Validation failed` and "
    "`Username or email is required`.",
    "A `password` that is absent, blank or no string is answered with 400 `Validation failed` and "
    "`Password is required`, after the username's entry.",
)


@check(
    "4.2", "Success is 200 with `message` `Login successful`, the own profile with `lastLogin` as `user`, and `token`."
)
async def a_login_is_200(probe: CheckProbe) -> None:
    account = await probe.account()
    own = PROFILE | {"email": account.email, "lastLogin": TIMESTAMP, "userId": account.user_id}
    body = (await probe.login(account.username)).succeeds({"message": "Login successful", "user": own, "token": TEXT})
    (await probe.http.get("/api/auth/verify", token=body["token"])).is_status(200)


@check("4.2", "`username` is a username or an email; white space around it is dropped.")
async def a_login_by_email_works(probe: CheckProbe) -> None:
    account = await probe.account()
    same((await probe.login(account.email)).is_status(200).body["user"]["userId"], account.user_id, "userId")


@check("4.2", "`username` is a username or an email; white space around it is dropped.")
async def white_space_around_the_username_is_dropped(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.login(f"  {account.username}\n")).is_status(200)


@check("4.2", "The email may be given in any letter case, the username may not.")
async def the_email_may_be_in_any_case(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.login(account.email.upper())).is_status(200)


@check("4.2", "The email may be given in any letter case, the username may not.")
async def the_username_must_be_in_its_case(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.login(account.username.upper())).fails(401, REFUSED)


@check("4.2", _USERNAME)
async def a_login_needs_a_username(probe: CheckProbe) -> None:
    (await probe.http.post("/api/auth/login", {"password": PASSWORD})).fails(400, "Validation failed", NO_USERNAME)
    (await probe.login("  ")).fails(400, "Validation failed", NO_USERNAME)


@check("4.2", _USERNAME)
async def a_login_needs_a_username_that_is_text(probe: CheckProbe) -> None:
    for value in (5, ["ann"], {"a": 1}, True):
        (await probe.login(value)).fails(400, "Validation failed", NO_USERNAME)


@check("4.2", _PASSWORD)
async def a_login_needs_a_password(probe: CheckProbe) -> None:
    (await probe.login("ann", "")).fails(400, "Validation failed", NO_PASSWORD)
    (await probe.http.post("/api/auth/login", {})).fails(400, "Validation failed", NO_USERNAME, NO_PASSWORD)


@check("4.2", _PASSWORD)
async def a_login_needs_a_password_that_is_text(probe: CheckProbe) -> None:
    for value in (123456, ["secret"], {"a": 1}, True):
        (await probe.login("ann", value)).fails(400, "Validation failed", NO_PASSWORD)


@check("4.2", "An unknown user and a wrong password get the same answer: 401 `Invalid credentials`.")
async def an_unknown_user_is_401(probe: CheckProbe) -> None:
    (await probe.login(probe.name())).fails(401, REFUSED)


@check("4.2", "An unknown user and a wrong password get the same answer: 401 `Invalid credentials`.")
async def a_wrong_password_is_401(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.login(account.username, "wrong password")).fails(401, REFUSED)


@check(
    "4.2", "After ten failed logins for one account from one address within 15 minutes the answer is 429", within=120
)
async def too_many_failed_logins_are_429(probe: CheckProbe) -> None:
    account, other = await probe.account(), await probe.account()
    for _ in range(10):
        (await probe.login(account.username, "wrong password")).is_status(401)
    answer = (await probe.login(account.username)).fails(429, "Too many failed login attempts")
    after = answer.headers.get("Retry-After", "")
    true(after.isdigit() and int(after) > 0, f"Retry-After is {after!r}, not a number of seconds")
    (await probe.login(other.username)).is_status(200)


@check("4.2", "A success resets the count", within=120)
async def a_success_resets_the_count(probe: CheckProbe) -> None:
    account = await probe.account()
    for _ in range(2):
        for _ in range(6):
            (await probe.login(account.username, "wrong password")).is_status(401)
        (await probe.login(account.username)).is_status(200)


@check("4.3", "It needs a token and answers 200 with `message` `Token is valid` and all claims of the token as `user`.")
async def verify_shows_the_claims(probe: CheckProbe) -> None:
    account = await probe.account()
    shape = {"message": "Token is valid", "user": part(account.token, 1)}
    (await probe.http.get("/api/auth/verify", token=account.token)).succeeds(shape)


@check("4.4", "It answers 200 with `message` `Logout successful`, whatever the headers; nothing is revoked.")
async def logout_always_succeeds(probe: CheckProbe) -> None:
    for token in (None, "garbage", (await probe.account()).token):
        (await probe.http.post("/api/auth/logout", token=token)).succeeds({"message": "Logout successful"})
