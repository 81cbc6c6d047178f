"""Rates of typing and status: a change at once, then ten a second, and always the last value."""

from __future__ import annotations

import asyncio
import random

import pytest

from chatsys.realtime import rates
from chatsys.realtime.rates import Allowance, Rate, Rates


class RateDriver:
    """Offers values to a rate at given times, and fires the timers that it requests."""

    def __init__(self) -> None:
        self.rate = Rate()
        self.sent: list[tuple[float, bool]] = []
        self._timers: list[float] = []

    def offer(self, now: float, value: bool) -> None:
        self.advance(now)
        wait = self.rate.offer(value, now)
        if wait == 0:
            self._due(now)
        elif wait is not None:
            self._timers.append(now + wait)

    def advance(self, now: float) -> None:
        while self._timers and self._timers[0] <= now:
            self._due(self._timers.pop(0))

    def _due(self, now: float) -> None:
        value = self.rate.due(now)
        if value is not None:
            self.sent.append((now, value))


def test_first_ten_changes_of_a_second_are_sent_at_once() -> None:
    driver = RateDriver()
    for number in range(12):
        driver.offer(number / 100, number % 2 == 0)
    assert driver.sent == [(number / 100, number % 2 == 0) for number in range(10)]
    driver.advance(0.99)
    assert len(driver.sent) == 10
    driver.advance(5)
    assert driver.sent[10:] == []  # the last of the twelve equals the last value that was sent


def test_newest_value_is_sent_when_the_second_is_over() -> None:
    driver = RateDriver()
    for number in range(13):
        driver.offer(number / 100, number % 2 == 0)
    driver.advance(5)
    assert driver.sent[10:] == [(1.0, True)]


def test_repetition_is_sent_at_most_once_a_second() -> None:
    driver = RateDriver()
    for number in range(250):
        driver.offer(number / 100, True)
    assert [now for now, _ in driver.sent] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("seed", range(20))
def test_last_value_arrives_and_no_second_has_more_than_ten(seed: int) -> None:
    rng, driver, now = random.Random(seed), RateDriver(), 0.0
    for _ in range(400):
        now += rng.choice((0.001, 0.02, 0.3))
        last = rng.random() < 0.5
        driver.offer(now, last)
    driver.advance(now + 2)
    assert driver.sent[-1][1] is last
    times = [sent for sent, _ in driver.sent]
    assert all(later - earlier >= 1 - 1e-9 for earlier, later in zip(times, times[10:], strict=False))


async def test_late_value_of_a_member_that_left_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "PERIOD", 0.01)
    sent: list[bool] = []
    here = [True]

    async def send(value: bool) -> None:
        sent.append(value)

    for stays in (True, False):
        sent.clear()
        rate, many = Rate(), Rates()
        for number in range(13):
            await many.offer(rate, number % 2 == 0, send, lambda: here[0])
        here[0] = stays
        await asyncio.sleep(0.03)
        assert len(sent) == (11 if stays else 10)


def test_created_rooms_are_counted_for_a_minute() -> None:
    allowance = Allowance()
    for number in range(3):
        assert allowance.may_make_room(3, float(number))
        allowance.made_room(float(number))
    assert allowance.may_make_room(None, 3.0)
    assert not allowance.may_make_room(3, 59.9)
    assert allowance.may_make_room(3, 60.0)
    assert not Allowance().may_make_room(0, 0.0)
