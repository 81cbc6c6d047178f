"""Keep Locust's recent statistics in memory that does not grow with the run.

To compute percentiles of the last ten seconds, Locust keeps a copy of each whole histogram for each of the last twenty
seconds. With times of 0.01 ms these copies take tens of megabytes and grow with the run. This module keeps the batches
of those seconds instead, which give the same percentiles, and a :class:`Histogram` for the whole run. Locust also
counts the requests of each second for the whole run but reads only the last twelve, so older counts are deleted. Its
charts get a point every five seconds; above ``POINTS`` points, every second one is deleted.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

from locust import stats as locust_stats
from locust.stats import RequestStats, StatsEntry, calculate_response_time_percentile

from chatsys.loadtesting.histogram import SPARSE, Histogram
from chatsys.loadtesting.locust_names import replace

KEPT = 20.0
"""Seconds for which batches are kept, as in Locust."""
POINTS = 120
"""Points of a chart: ten minutes, as Locust adds one every five seconds."""

_original_extend = StatsEntry.extend
_original_log = StatsEntry.log
_original_serialize = StatsEntry.serialize
_original_history = locust_stats.update_stats_history


def bound_memory() -> None:
    """Make Locust's statistics keep only what Locust reads. Idempotent."""
    replace("StatsEntry.extend", _extend)
    replace("StatsEntry.log", _log)
    replace("StatsEntry.serialize", _serialize)
    replace("calculate_response_time_percentile", _percentile)
    replace("StatsEntry.get_current_response_time_percentile", _current_percentile)
    replace("update_stats_history", _update_history)


def times_since(entry: StatsEntry, at: float) -> dict[float, int]:
    """The histogram of the times added to ``entry`` after ``at`` (monotonic seconds, at most :data:`KEPT` ago)."""
    merged: Counter[float] = Counter()
    for added, batch in getattr(entry, "recent", ()):
        if added > at:
            merged.update(batch)
    return merged


def _extend(self: StatsEntry, other: StatsEntry) -> None:
    own = self.response_times
    if isinstance(own, Histogram):
        self.response_times = {}
        _original_extend(self, other)
        own.add(other.response_times)
        self.response_times = own
    else:
        _original_extend(self, other)
        _flatten(self)
    _remember(self, other.response_times)
    for counts in (self.num_reqs_per_sec, self.num_fail_per_sec):
        newest = max(counts, default=0)
        for second in [second for second in counts if second < newest - KEPT]:
            del counts[second]


def _log(self: StatsEntry, response_time: float | None, content_length: int) -> None:
    _original_log(self, response_time, content_length)
    _flatten(self)
    if response_time is not None:
        _remember(self, {locust_stats.bucket_response_time(response_time): 1})


def _flatten(self: StatsEntry) -> None:
    if isinstance(self.response_times, dict) and len(self.response_times) > SPARSE:
        self.response_times = Histogram(self.response_times)


def _serialize(self: StatsEntry) -> object:
    return _original_serialize(self) | {"response_times": dict(self.response_times)}


def _percentile(response_times: dict[float, int] | Histogram, total: int, share: float) -> float:
    if isinstance(response_times, Histogram):
        return response_times.percentile(total, share)
    return calculate_response_time_percentile(response_times, total, share)


def _remember(self: Any, batch: dict[float, int]) -> None:
    if batch:
        if not hasattr(self, "recent"):
            self.recent = deque()
        now = time.monotonic()
        self.recent.append((now, batch))
        while self.recent[0][0] < now - KEPT:
            self.recent.popleft()


def _current_percentile(self: StatsEntry, percent: float) -> float | None:
    times = times_since(self, time.monotonic() - locust_stats.CURRENT_RESPONSE_TIME_PERCENTILE_WINDOW)
    return calculate_response_time_percentile(times, sum(times.values()), percent) if times else None


def _update_history(runner: Any, timestamp: str | None = None) -> None:
    _original_history(runner, timestamp)
    stats: RequestStats = runner.stats
    if len(stats.history) > POINTS:
        del stats.history[1:-1:2]
