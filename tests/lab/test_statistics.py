"""The lab's statistics, checked with known values."""

from __future__ import annotations

import numpy as np
import pytest

from chatsys.lab import statistics


def test_percentiles_are_those_of_all_rounds_together():
    figures = statistics.summary([np.arange(1.0, 51.0), np.arange(51.0, 101.0)], seed=1)
    assert (figures.n, figures.max_us) == (100, 100)
    assert figures.p50_us == 50.5
    assert figures.p95_us == pytest.approx(95.05)
    assert figures.p99_us == pytest.approx(99.01)


def test_same_seed_gives_the_same_interval_of_a_single_round():
    alone = [np.random.default_rng(1).lognormal(1, 0.5, 300)]
    assert statistics.summary(alone, seed=3).interval == statistics.summary(alone, seed=3).interval
    assert statistics.ratio(alone, alone, seed=3) == statistics.ratio(alone, alone, seed=3)


def rounds_with_variance(generator, number, middle):
    """Return rounds of 60 calls: each round deviates by 10 %, and calls within a round by 30 %."""
    return [generator.lognormal(np.log(middle) + generator.normal(0, 0.1), 0.3, 60) for _ in range(number)]


@pytest.mark.parametrize("number", [2, 4, 5, 8, 10])
def test_intervals_have_their_stated_coverage_under_round_variance(number):
    """With 1,000 experiments and 95 %, fewer than 922 or more than 975 hits occur once in 10,000 runs."""
    generator = np.random.default_rng(number)
    of_median = of_ratio = 0
    for seed in range(1_000):
        above, below = (rounds_with_variance(generator, number, middle) for middle in (300, 100))
        interval = statistics.summary(above, seed).interval
        of_median += interval.low <= 300 <= interval.high
        _, interval = statistics.ratio(above, below, seed)
        of_ratio += interval.low <= 3 <= interval.high
    assert 922 <= of_median <= 975
    assert 922 <= of_ratio <= 975


def test_interval_of_a_single_round_has_about_its_stated_coverage():
    """With 300 experiments and 95 %, fewer than 265 hits occur once in 10,000 runs."""
    generator = np.random.default_rng(5)
    hits = 0
    for number in range(300):
        interval = statistics.summary([generator.normal(100, 10, 80)], seed=number).interval
        hits += interval.low <= 100 <= interval.high
    assert hits >= 265


def test_rounds_that_differ_widen_the_interval():
    alike = [np.full(100, 100.0) + np.arange(100) / 100 for _ in range(8)]
    drifting = [samples + 10 * number for number, samples in enumerate(alike)]
    narrow = statistics.summary(alike, seed=1).interval
    wide = statistics.summary(drifting, seed=1).interval
    assert wide.high - wide.low > 10 * (narrow.high - narrow.low)


def test_ratio_of_alternating_rounds_is_robust_against_machine_drift():
    generator = np.random.default_rng(2)
    drift = np.linspace(1, 3, 10)
    slow = [generator.normal(200, 4, 200) * factor for factor in drift]
    fast = [generator.normal(100, 2, 200) * factor for factor in drift]
    value, interval = statistics.ratio(slow, fast, seed=1)
    assert value == pytest.approx(2, rel=0.05)
    assert 1.4 < interval.low <= 2 <= interval.high < 2.9


def test_store_that_takes_200_microseconds_more_is_called_slower():
    generator = np.random.default_rng(7)
    usual = generator.lognormal(np.log(500), 0.3, 2000)
    assert statistics.compare(usual + 200, usual)[0] == "slower"
    assert statistics.compare(usual, usual + 200)[0] == "faster"


def test_samples_of_the_same_distribution_are_called_equal():
    generator = np.random.default_rng(8)
    one, other = generator.lognormal(6, 0.3, 2000), generator.lognormal(6, 0.3, 2000)
    assert statistics.compare(one, other)[0] == "same"


def test_certain_but_tiny_difference_is_not_reported():
    generator = np.random.default_rng(9)
    one = generator.normal(1000, 5, 20_000)
    verdict, p = statistics.compare(one * 1.01, one)
    assert p < statistics.CERTAINTY
    assert verdict == "same"


@pytest.mark.parametrize(("power", "exponent"), [(1.0, 1.0), (0.5, 0.5), (0.0, 0.0)])
def test_fitted_exponent_is_the_power_that_produced_the_values(power, exponent):
    sizes = (1e3, 1e4, 1e5, 1e6)
    fitted = statistics.slope(sizes, [3 * size**power for size in sizes])
    assert fitted.exponent == pytest.approx(exponent, abs=1e-9)
    assert fitted.interval.low == pytest.approx(exponent, abs=1e-6)


def test_interval_of_an_exponent_is_wider_for_scattered_values():
    sizes = (1e3, 1e4, 1e5, 1e6)
    fitted = statistics.slope(sizes, [1000, 14_000, 80_000, 1_100_000])
    assert fitted.interval.low < 1 < fitted.interval.high
    assert fitted.interval.high - fitted.interval.low > 0.1


def test_ratio_by_rounds_is_robust_against_machine_drift():
    value, interval = statistics.ratio_of_rounds([20, 42, 79], [10, 20, 40])
    assert value == pytest.approx(2.02, abs=0.01)
    assert interval is not None
    assert 1.8 < interval.low < 2 < interval.high < 2.3


def test_two_rounds_give_a_wide_interval_and_one_none():
    _, wide = statistics.of_rounds([10, 12])
    assert wide is not None
    assert wide.high > 2 * wide.low
    assert statistics.of_rounds([10]) == (pytest.approx(10), None)


def test_interval_of_rounds_has_about_its_stated_coverage():
    """With 300 experiments and 95 %, fewer than 265 hits occur once in 10,000 runs."""
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        _, interval = statistics.of_rounds(generator.lognormal(np.log(100), 0.2, 4))
        hits += interval.low <= 100 <= interval.high
    assert hits >= 265
