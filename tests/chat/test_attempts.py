"""Counting failed logins, on a clock that the test moves."""

from __future__ import annotations

import pytest

from chatsys.chat.attempts import LoginAttempts
from chatsys.errors import TooManyAttempts


class Moment:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Moment:
    return Moment()


@pytest.fixture
def attempts(clock: Moment) -> LoginAttempts:
    return LoginAttempts(10, 900.0, clock)


def fail(attempts: LoginAttempts, times: int, account: str = "ann", address: str = "a") -> None:
    for _ in range(times):
        attempts.check(account, address)
        attempts.failed(account, address)


def test_the_tenth_failure_closes_the_door_until_the_window_after_it_has_passed(attempts, clock):
    fail(attempts, 9)
    clock.now += 100
    fail(attempts, 1)
    for waited in (0.0, 0.5, 899.0):
        clock.now = 1100 + waited
        with pytest.raises(TooManyAttempts) as caught:
            attempts.check("ann", "a")
        assert caught.value.retry_after == -(-(900 - waited) // 1)
    clock.now = 2000
    attempts.check("ann", "a")


def test_failures_that_are_spread_over_more_than_the_window_do_not_add_up(attempts, clock):
    for _ in range(50):
        fail(attempts, 1)
        clock.now += 101


def test_one_more_failure_after_the_wait_does_not_close_the_door_at_once(attempts, clock):
    fail(attempts, 10)
    clock.now += 900
    fail(attempts, 1)
    attempts.check("ann", "a")


def test_accounts_and_addresses_are_counted_apart(attempts):
    fail(attempts, 10)
    attempts.check("ann", "b")
    attempts.check("bob", "a")


def test_a_success_forgets_the_failures(attempts):
    fail(attempts, 9)
    attempts.succeeded("ann", "a")
    fail(attempts, 9)


def test_only_the_pairs_that_failed_last_are_remembered(attempts):
    fail(attempts, 10)
    fail(attempts, 10, "bob")
    for number in range(9_999):
        attempts.failed(f"user{number}", "a")
    attempts.check("ann", "a")
    with pytest.raises(TooManyAttempts):
        attempts.check("bob", "a")
