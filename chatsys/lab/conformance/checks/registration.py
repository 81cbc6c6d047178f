"""§4.1: registering an account."""

from __future__ import annotations

import asyncio
from typing import Any

from chatsys.lab.conformance.check import Body, check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import PROFILE, TEXT, same, true

TAKEN = "Username or email already exists"
_TAKEN = "A username or email that is taken is answered with 400 `Username or email already exists` and no `errors`."
REQUIRED = ("Username is required", "Email is required", "Password is required")

RULES: tuple[tuple[str, str, Any, str], ...] = (
    ("a_missing_username", "username", ..., "Username is required"),
    ("a_blank_username", "username", "   ", "Username is required"),
    ("a_short_username", "username", "ab", "Username must be at least 3 characters long"),
    ("a_long_username", "username", "a" * 31, "Username must not exceed 30 characters"),
    ("a_username_with_a_dash", "username", "ann-lee", "Username can only contain letters, numbers, and underscores"),
    ("a_username_beyond_ascii", "username", "änne", "Username can only contain letters, numbers, and underscores"),
    ("a_username_with_a_space", "username", "ann ", "Username can only contain letters, numbers, and underscores"),
    ("a_missing_email", "email", ..., "Email is required"),
    ("a_blank_email", "email", " ", "Email is required"),
    ("an_email_without_at", "email", "ann.example.org", "Invalid email format"),
    ("an_email_without_a_dot", "email", "ann@example", "Invalid email format"),
    ("an_email_with_a_space", "email", "ann lee@example.org", "Invalid email format"),
    ("an_email_with_two_ats", "email", "ann@lee@example.org", "Invalid email format"),
    ("a_long_email", "email", f"{'a' * 250}@example.org", "Email must not exceed 255 characters"),
    ("a_missing_password", "password", ..., "Password is required"),
    ("an_empty_password", "password", "", "Password is required"),
    ("a_short_password", "password", "12345", "Password must be at least 6 characters long"),
    ("a_long_password", "password", "p" * 101, "Password must not exceed 100 characters"),
    ("a_long_display_name", "displayName", "d" * 101, "Display name must not exceed 100 characters"),
)
"""What is wrong, the field, its value, the entry in ``errors``."""


def _refused(field: str, value: Any, entry: str) -> Body:
    async def body(probe: CheckProbe) -> None:
        (await probe.register(probe.fields(**{field: value}))).fails(400, "Validation failed", entry)

    return body


for _name, _field, _value, _entry in RULES:
    check("4.1", f"`{_entry}` |", name=f"{_name}_is_refused")(_refused(_field, _value, _entry))


@check("4.1", "Success is 201 with `message` `User registered successfully`, the own profile as `user`, and `token`.")
async def a_registration_is_201(probe: CheckProbe) -> None:
    fields = probe.fields()
    shape = {"message": "User registered successfully", "user": PROFILE | {"email": fields["email"]}, "token": TEXT}
    body = (await probe.register(fields)).succeeds(shape, 201)
    (await probe.http.get("/api/auth/verify", token=body["token"])).is_status(200)


@check("4.1", "`username`, `email` and `password` are required; `displayName`, `avatar` and `bio` are optional.")
async def three_fields_are_required(probe: CheckProbe) -> None:
    (await probe.register({})).fails(400, "Validation failed", *REQUIRED)
    (await probe.register(probe.fields())).is_status(201)


@check("4.1", "at most one entry for each field, the first rule that fails, in the", "order username, email, password")
async def errors_are_in_order_one_for_each_field(probe: CheckProbe) -> None:
    entries = ("Username must be at least 3 characters long", "Invalid email format", "Password is required")
    fields = {"password": "", "email": "x", "username": "-", "displayName": "fine"}
    (await probe.register(fields)).fails(400, "Validation failed", *entries)


@check("4.1", "| any | a string if present and not null | free text |")
async def other_types_are_refused(probe: CheckProbe) -> None:
    for field in ("username", "email", "password", "displayName", "avatar", "bio"):
        for value in (5, ["abcdefg"], {"a": "b"}, True):
            answer = (await probe.register(probe.fields(**{field: value}))).fails(400, "Validation failed")
            same(len(answer.body["errors"]), 1, f"the number of entries for {field}")


@check("4.1", "| | at most 30 characters | `Username must not exceed 30 characters` |")
async def a_username_may_have_3_to_30_characters(probe: CheckProbe) -> None:
    for length in (30, 29):
        name = probe.name().ljust(length, "x")
        same((await probe.account(username=name)).user["username"], name, "username")


@check("4.1", "An optional field that is absent, null or empty takes its default.")
async def optional_fields_may_be_null_or_empty(probe: CheckProbe) -> None:
    for value in (None, ""):
        account = await probe.account(displayName=value, avatar=value, bio=value)
        same(account.user["displayName"], account.username, "displayName")
        same(account.user["bio"], "", "bio")
        true(account.user["avatar"].startswith("https://ui-avatars.com/api/?name="), "the avatar is not the default")


@check("4.1", "The email is stored and compared in lower case.")
async def the_email_is_kept_in_lower_case(probe: CheckProbe) -> None:
    name = probe.name()
    account = await probe.account(username=name, email=f"{name.upper()}@Example.ORG")
    claims = (await probe.http.get("/api/auth/verify", token=account.token)).is_status(200).body["user"]
    same(claims["email"], f"{name}@example.org", "email")


@check("4.1", "Usernames are case-sensitive: `Bob` and `bob` are two users.")
async def usernames_are_case_sensitive(probe: CheckProbe) -> None:
    name = probe.name()
    lower, upper = await probe.account(username=name), await probe.account(username=name.upper())
    true(lower.user_id != upper.user_id, "both names are one user")


@check("4.1", _TAKEN)
async def a_taken_username_is_refused(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.register(probe.fields(username=account.username))).fails(400, TAKEN)


@check("4.1", _TAKEN)
async def a_taken_email_is_refused_in_any_case(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.register(probe.fields(email=account.email))).fails(400, TAKEN)
    (await probe.register(probe.fields(email=account.email.upper()))).fails(400, TAKEN)


@check("4.1", "Of several simultaneous registrations of one name exactly one succeeds; the others get that 400.")
async def one_of_simultaneous_registrations_succeeds(probe: CheckProbe) -> None:
    name = probe.name()
    answers = await asyncio.gather(*(probe.register(probe.fields(username=name)) for _ in range(6)))
    same(sorted(answer.status for answer in answers), [201, *[400] * 5], "the statuses")
    for answer in answers:
        if answer.status == 400:
            answer.fails(400, TAKEN)
