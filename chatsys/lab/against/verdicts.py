"""What the rounds say about each operation: faster, slower, or no difference found.

Each round starts new processes on both sides. So the logarithm of its ratio is one observation, whose noise includes
what a process draws only once (hash seed, place in memory). Each measure of each operation gets one t test over the
rounds. Holm's procedure (1979) corrects for all tests together: RUN_ERROR is the probability that a run with two equal
sides reports any difference. A ratio below LEAST is never reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

from chatsys.results.run import Interval

Numbers = npt.NDArray[np.float64]
Verdict = Literal["slower", "faster", "no difference found"]
RUN_ERROR = 0.02
"""The share of runs with equal sides that may report a difference. The project allows 5 %, but tails are heavy."""
LEAST = 1.05
"""A ratio closer to 1 is not worth reporting, however certain it is."""
BLUNT = 1.3
"""A run that could miss a slowdown of this factor in some operation is invalid."""
POWER = 0.9
"""The probability of detecting a difference of the size ``finds``."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one operation: the figure of the later side divided by that of the earlier one.

    ``interval`` and ``p`` are corrected for all measures together. ``finds`` is the smallest ratio that this run
    detects with probability POWER.
    """

    ratio: float
    interval: Interval
    p: float
    finds: float
    verdict: Verdict


def judge(rounds: Sequence[Sequence[float]]) -> list[Judged]:
    """The verdict on each measure. ``rounds`` has one sequence per measure, with the logarithm of each round's ratio.

    All sequences have the same length, at least two.
    """
    values = np.asarray(rounds)
    means, errors = values.mean(axis=1), stats.sem(values, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # equal rounds have a standard error of 0
        uncertain = np.nan_to_num(2 * stats.t.sf(np.abs(means / errors), values.shape[1] - 1), nan=1.0)
    reach = critical(values.shape[1], len(values)) * errors
    least = np.exp(_finds(errors, values.shape[1], len(values)))
    return [
        Judged(
            ratio=float(np.exp(mean)),
            interval=Interval(float(np.exp(mean - wide)), float(np.exp(mean + wide))),
            p=p,
            finds=float(smallest),
            verdict=_verdict(mean, p),
        )
        for mean, wide, p, smallest in zip(means, reach, _holm(uncertain), least, strict=True)
    ]


def finds(rounds: Sequence[Sequence[float]]) -> list[float]:
    """For each measure the smallest ratio that is detected with probability POWER, given how its rounds scatter."""
    values = np.asarray(rounds)
    return [float(each) for each in np.exp(_finds(stats.sem(values, axis=1), values.shape[1], len(values)))]


def critical(rounds: int, tests: int) -> float:
    """The distance from zero, in standard errors, at which the first of ``tests`` means counts as different."""
    return float(stats.t.ppf(1 - RUN_ERROR / (2 * tests), rounds - 1))


def _finds(errors: Numbers, rounds: int, tests: int) -> Numbers:
    """As a logarithm: the limit of a report, plus the margin that makes it reached with probability POWER."""
    beyond = float(stats.t.ppf(POWER, rounds - 1)) * errors
    return np.maximum(critical(rounds, tests) * errors, np.log(LEAST)) + beyond


def _verdict(mean: float, p: float) -> Verdict:
    if p >= RUN_ERROR or abs(mean) < np.log(LEAST):
        return "no difference found"
    return "slower" if mean > 0 else "faster"


def _holm(p: Numbers) -> list[float]:
    """Each p, corrected for all of them by Holm's step-down procedure."""
    order = np.argsort(p)
    stepped = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return [float(value) for value in corrected]
