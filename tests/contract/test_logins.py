"""Failed logins are counted by typed name and by address, and block further logins for a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from chatsys.model.values import LoginAttempt

WINDOW = timedelta(minutes=15)


def attempt(typed: str = "ann", address: str = "192.0.2.1", limit: int = 3) -> LoginAttempt:
    return LoginAttempt(typed=typed, address=address, limit=limit, window=WINDOW)


@pytest.fixture
async def ann(cast):
    return await cast.user("Ann")


async def fail(store, cast, times: int, tried: LoginAttempt):
    return [await store.record_failure(tried, cast.now()) for _ in range(times)]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("Ann", True),
        ("ann@example.org", True),
        ("ANN@Example.org", True),
        ("ann", False),
        ("nobody", False),
        ("", False),
    ],
)
async def test_account_is_found_by_its_exact_name_or_its_email_in_any_case(store, cast, ann, typed, found):
    user, failures = await store.find_login(attempt(typed))
    assert (user is not None and user.user_id == ann.user_id) is found
    assert failures == ()


async def test_failures_are_counted_by_typed_name_in_any_case_and_by_address(store, cast, ann):
    counts = [len(failures) for failures in await fail(store, cast, 2, attempt("Ann"))]
    counts += [len(failures) for failures in await fail(store, cast, 1, attempt("aNN"))]
    assert counts == [1, 2, 3]
    for other in (attempt("ann@example.org"), attempt(address="192.0.2.2"), attempt("bob")):
        assert (await store.find_login(other))[1] == ()
    assert len((await store.find_login(attempt("ANN")))[1]) == 3


async def test_newest_failures_are_kept_in_order(store, cast):
    moments = []
    for _ in range(5):
        moments.append(cast.now())
        kept = await store.record_failure(attempt(), moments[-1])
    assert list(kept) == moments[-4:]
    assert (await store.find_login(attempt()))[1] == kept


async def test_concurrent_failures_are_all_counted(store, cast):
    tried = attempt(limit=20)
    await asyncio.gather(*[store.record_failure(tried, cast.now()) for _ in range(20)])
    assert len((await store.find_login(tried))[1]) == 20


async def test_successful_login_clears_failures_and_a_refused_one_does_not(store, cast, ann):
    await fail(store, cast, 2, attempt("Ann"))
    moment = cast.now()
    entered = await store.record_login(ann.user_id, moment, attempt("Ann"))
    assert entered is not None
    assert entered.last_login == moment
    assert (await store.find_login(attempt("Ann")))[1] == ()
    failures = (await fail(store, cast, 3, attempt("Ann")))[-1]
    assert await store.record_login(ann.user_id, failures[-1] + WINDOW / 2, attempt("Ann")) is None
    assert (await store.user_by_id(ann.user_id)).last_login == moment
    assert (await store.find_login(attempt("Ann")))[1] == failures
    assert await store.record_login(ann.user_id, failures[-1] + WINDOW, attempt("Ann")) is not None


async def test_failures_spread_beyond_the_window_block_nobody(store, cast, ann):
    start = cast.now()
    for number in range(3):
        await store.record_failure(attempt("Ann"), start + number * WINDOW / 2)
    assert await store.record_login(ann.user_id, start + WINDOW, attempt("Ann")) is not None


async def test_failures_with_an_overlong_name_are_counted_too(store, cast):
    long = attempt("\u0130" * 300, "x" * 300)
    await fail(store, cast, 2, long)
    assert len((await store.find_login(long))[1]) == 2
