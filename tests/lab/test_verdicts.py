"""The verdicts from a comparison's rounds: how often they are wrong, and what they find."""

from __future__ import annotations

import numpy as np
import pytest

from chatsys.lab.against.verdicts import LEAST, POWER, RUN_ERROR, finds, judge

MEASURES, ROUNDS = 40, 8


def noise(rng: np.random.Generator, scatter: float = 0.03) -> np.ndarray:
    """Return rounds of two equal sides: half of the measures normal, half with the heavy tails of a shared machine."""
    rounds = rng.normal(0, scatter, (MEASURES, ROUNDS))
    rounds[::2] = rng.standard_t(3, (MEASURES // 2, ROUNDS)) * scatter
    return rounds


def test_equal_sides_seldom_report_any_difference():
    rng = np.random.default_rng(1)
    wrong = sum(any(each.verdict != "no difference found" for each in judge(noise(rng, 0.1))) for _ in range(600))
    assert wrong / 600 <= 0.05


def test_detectable_slowdown_is_found_as_often_as_promised():
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(300):
        rounds = rng.normal(0, 0.03, (MEASURES, ROUNDS))
        rounds[0] += np.log(finds(rounds)[0])
        found += judge(rounds)[0].verdict == "slower"
    assert found / 300 >= POWER - 0.05


@pytest.mark.parametrize(("shift", "verdict"), [(0.5, "slower"), (-0.5, "faster"), (0.0, "no difference found")])
def test_verdict_names_the_direction(shift, verdict):
    rounds = noise(np.random.default_rng(3))
    rounds[0] += shift
    judged = judge(rounds)
    assert judged[0].verdict == verdict
    assert {each.verdict for each in judged[1:]} == {"no difference found"}


def test_certain_but_small_difference_is_not_reported():
    rounds = np.random.default_rng(4).normal(np.log(LEAST) / 2, 0.001, (1, ROUNDS))
    judged = judge(rounds)[0]
    assert judged.p < RUN_ERROR
    assert judged.verdict == "no difference found"


def test_rounds_without_any_variance_are_judged_too():
    same, twice = judge([[0.0] * ROUNDS, [np.log(2)] * ROUNDS])
    assert same.verdict == "no difference found"
    assert (twice.verdict, round(twice.ratio, 3)) == ("slower", 2.0)


def test_more_measures_require_more_certainty():
    rounds = noise(np.random.default_rng(5))
    rounds[1] += 0.08
    assert judge(rounds)[1].p > judge(rounds[1:2])[0].p
    assert finds(rounds)[1] > finds(rounds[1:2])[0]
