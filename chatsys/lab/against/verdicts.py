"""What the rounds say of each operation: faster, slower, or no difference found.

A round has fresh processes on both sides, so its logarithm of a ratio is one observation, and what a process draws once
(hash seed, place in memory) is among its noise. Each measure of each operation has one t test over the rounds. Holm's
procedure (1979) corrects for all of them together: RUN_ERROR is the probability that a run of two equal sides reports
any difference at all. Besides that, a difference of less than LEAST is not called one.
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
"""Of runs of two equal sides, the share that may report any difference; the project allows 5 %, and tails are heavy."""
LEAST = 1.05
"""A ratio nearer to 1 is not worth reporting, however certain it is."""
BLUNT = 1.3
"""A run that would miss so large a slowdown of some operation is no gate."""
POWER = 0.9
"""How often a difference of the size called ``finds`` is found."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one operation: the later side's figure over the earlier one's.

    ``interval`` holds for all measures together; ``p`` is corrected; ``finds`` is the smallest ratio that this run
    finds in POWER of all cases.
    """

    ratio: float
    interval: Interval
    p: float
    finds: float
    verdict: Verdict


def judge(rounds: Sequence[Sequence[float]]) -> list[Judged]:
    """The verdict on each measure, from its logarithms of ratios, one a round; all have as many, two at least."""
    values = np.asarray(rounds)
    means, errors = values.mean(axis=1), stats.sem(values, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # rounds that are all alike have no error
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
    """For each measure the smallest ratio that is found in POWER of all cases, given how its rounds scatter."""
    values = np.asarray(rounds)
    return [float(each) for each in np.exp(_finds(stats.sem(values, axis=1), values.shape[1], len(values)))]


def critical(rounds: int, tests: int) -> float:
    """How many standard errors a mean must lie from zero to be called different as the first of ``tests``."""
    return float(stats.t.ppf(1 - RUN_ERROR / (2 * tests), rounds - 1))


def _finds(errors: Numbers, rounds: int, tests: int) -> Numbers:
    """In logarithms: what is both certain and worth reporting, and so far beyond it that it seldom falls short."""
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
