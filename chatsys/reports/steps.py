"""Find the steps in the history of a figure: where it changed permanently.

ruptures finds the candidates (PELT, Killick et al. 2012, on logarithms, with the penalty of the Bayesian information
criterion). For each candidate, a rank test compares the runs before with those after and decides whether the step is
significant. ruptures needs only numpy and scipy; apache-otava would pin exact releases of both and depend on clients of
BigQuery and Slack. ruptures has no release for Python 3.14 yet, so no step is marked there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from chatsys.results.numbers import SAME

FEWEST = 5
"""Runs on each side of a step: fewer can't be significant at the level ``CERTAINTY``."""
CERTAINTY = 0.01


class Step(NamedTuple):
    """``first`` is the index of the first run after the step, ``factor`` the median after divided by that before."""

    first: int
    factor: float


def steps(values: Sequence[float]) -> list[Step]:
    """The significant steps of a series of positive figures, oldest first."""
    if len(values) < 2 * FEWEST or sys.version_info >= (3, 14):
        return []
    import ruptures

    logs = np.log(np.asarray(values, dtype=np.float64))
    # 0.954 is the median absolute difference of two standard normal values.
    noise = float(np.median(np.abs(np.diff(logs)))) / 0.954 or 1e-9
    search = ruptures.Pelt(model="l2", min_size=FEWEST, jump=1).fit((logs / noise).reshape(-1, 1))
    bounds = [0, *search.predict(pen=3 * np.log(len(logs)))]
    found = []
    for start, middle, end in zip(bounds, bounds[1:], bounds[2:], strict=False):
        before, after = logs[start:middle], logs[middle:end]
        factor = float(np.exp(np.median(after) - np.median(before)))
        significant = float(stats.mannwhitneyu(before, after).pvalue) < CERTAINTY
        if significant and not 1 / SAME < factor < SAME:
            found.append(Step(middle, factor))
    return found
