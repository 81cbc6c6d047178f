"""Statistics of samples: percentiles, intervals, a rank test, fitted exponents. All times are in microseconds.

Samples come in rounds. The calls of a round are not independent, so the unit is the round: each gives one figure (a
median, a rate, a tail, a ratio of two subjects), and the interval is Student's t interval over these figures. With so
few figures a bootstrap interval would be too narrow: over 4 rounds, the widest one covers the truth in 87 of 100 runs.
The bootstrap is used only for a single round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

from chatsys.results.run import Interval

Samples = npt.NDArray[np.float64]
Rounds = Sequence[Samples]
LEVEL = 0.95
RESAMPLES = 2_000
FACTOR = 1.05
"""A difference of less than this factor is not reported, however certain it is."""
CERTAINTY = 0.01
"""A difference is reported only if the p-value of the rank test is below this."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution in microseconds; ``n`` is its number of samples, ``interval`` that of the median."""

    n: int
    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float
    interval: Interval


class Slope(msgspec.Struct, frozen=True, kw_only=True):
    """The exponent b of y = a * x**b, fitted as a line through the logarithms."""

    exponent: float
    interval: Interval


Verdict = Literal["faster", "slower", "same"]


def pooled(rounds: Rounds) -> Samples:
    """The samples of all rounds together."""
    return np.concatenate(list(rounds))


def summary(rounds: Rounds, seed: int) -> Summary:
    """The figures of a distribution of at least one sample. The interval is around the median of all samples."""
    samples = pooled(rounds)
    p50, p95, p99 = (float(value) for value in np.quantile(samples, (0.5, 0.95, 0.99)))
    if len(rounds) == 1:
        interval = _interval(_resampled_medians(samples, np.random.default_rng(seed)))
    else:
        middle, within = of_rounds(medians(rounds))
        assert within is not None
        interval = Interval(within.low * p50 / middle, within.high * p50 / middle)
    return Summary(n=len(samples), p50_us=p50, p95_us=p95, p99_us=p99, max_us=float(samples.max()), interval=interval)


def ratio(numerator: Rounds, denominator: Rounds, seed: int) -> tuple[float, Interval]:
    """The ratio of the medians of two subjects that alternated, and its interval as in :func:`of_rounds`."""
    value, interval = ratio_of_rounds(medians(numerator), medians(denominator))
    if interval is None:
        generator = np.random.default_rng(seed)
        above, below = (_resampled_medians(pooled(rounds), generator) for rounds in (numerator, denominator))
        interval = _interval(above / below)
    return value, interval


def of_rounds(values: Sequence[float], *, geometric: bool = True) -> tuple[float, Interval | None]:
    """The mean of one figure per round, and its Student's t interval; None for a single round.

    The mean is geometric for times, rates and ratios, which are positive, and arithmetic for differences.
    """
    positive = geometric and min(values) > 0
    figures = np.log(values) if positive else np.asarray(values, dtype=float)
    middle = float(figures.mean())
    reach = 0.0
    if len(values) > 1:
        reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * figures.std(ddof=1) / np.sqrt(len(values)))
    value, low, high = (float(np.exp(v)) if positive else v for v in (middle, middle - reach, middle + reach))
    return value, Interval(low, high) if len(values) > 1 else None


def ratio_of_rounds(above: Sequence[float], below: Sequence[float]) -> tuple[float, Interval | None]:
    """The mean ratio of two figures that were measured in the same rounds, and its interval as in :func:`of_rounds`."""
    return of_rounds([a / b for a, b in zip(above, below, strict=True)])


def compare(samples: Samples, baseline: Samples) -> tuple[Verdict, float]:
    """Whether ``samples`` are faster or slower than ``baseline``, and the p-value of a Mann-Whitney test.

    A difference needs both medians that differ by FACTOR and a p-value below CERTAINTY.
    """
    p = float(stats.mannwhitneyu(samples, baseline).pvalue)
    factor = float(np.median(samples) / np.median(baseline))
    if p < CERTAINTY and factor >= FACTOR:
        return "slower", p
    if p < CERTAINTY and factor <= 1 / FACTOR:
        return "faster", p
    return "same", p


def slope(sizes: Sequence[float], values: Sequence[float]) -> Slope:
    """How ``values`` grow with ``sizes``: at least three points, all positive. A size occurs once per round.

    The interval is that of least squares, with Student's t on n - 2 degrees of freedom.
    """
    fit = stats.linregress(np.log10(sizes), np.log10(values))
    error = float(np.nan_to_num(fit.stderr))  # NaN if all values are equal
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(sizes) - 2)) * error
    exponent = float(fit.slope)
    return Slope(exponent=exponent, interval=Interval(exponent - reach, exponent + reach))


def medians(rounds: Rounds) -> list[float]:
    """The median of each round."""
    return [float(np.median(samples)) for samples in rounds]


def _resampled_medians(samples: Samples, generator: np.random.Generator) -> Samples:
    """The medians of RESAMPLES resamples, without drawing them.

    The median of n draws with replacement from n sorted values is the value at rank ceil(n * B). B is the middle order
    statistic of n uniform variates, which has a beta distribution.
    """

    n = len(samples)
    middle = (n + 1) / 2
    ranks = np.ceil(n * generator.beta(middle, n + 1 - middle, size=RESAMPLES)).astype(int) - 1
    return np.asarray(np.sort(samples)[np.clip(ranks, 0, n - 1)])


def _interval(values: Samples) -> Interval:
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))
