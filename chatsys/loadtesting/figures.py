"""Pass measured times to Locust in batches, so that its table, web UI, CSV and HTML show the same figures.

Locust handles each request by itself, rounds response times to whole milliseconds (to two digits above 100), and shows
0 for what was not timed. Here recording a time costs one dictionary increment. Once a second, and before each report to
a master, ``StatsEntry.extend`` merges the counts into Locust's entries, as Locust does with the reports of its workers.
Times are kept to 0.01 ms up to 100 ms and to three digits above, so histograms stay small even on a busy machine.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from typing import Any

import gevent
import locust.stats
from locust.env import Environment
from locust.stats import RequestStats, StatsEntry, sort_stats

from chatsys.loadtesting.histogram import rounded
from chatsys.loadtesting.locust_names import replace
from chatsys.loadtesting.recent import bound_memory

FLUSH_SECONDS = 1.0
NOT_TIMED = "N/A"
PUSH = "push"
"""Locust's request type for events that the server sends by itself."""
ALL_PUSHES = "all pushes"
"""The row that sums the rows of all pushes; Locust's total counts each push once."""
SERVICE = " (service)"
"""Suffix of a row whose times count from the actual start instead of the intended one."""


class TimingHistogram:
    """The times of one row since the last flush: milliseconds, and how often each occurred."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[float, int] = {}

    def add(self, ms: float) -> None:
        """Count one time."""
        key = round(ms, 2) if ms < 100.0 else rounded(ms)
        counts = self.counts
        counts[key] = counts.get(key, 0) + 1


class Figures:
    """All timings of this process; flushes them into Locust's statistics."""

    def __init__(self) -> None:
        self._timings: defaultdict[tuple[str, str], TimingHistogram] = defaultdict(TimingHistogram)
        self._stats: RequestStats | None = None

    def timing(self, method: str, name: str) -> TimingHistogram:
        """The histogram for this Locust type and name; each call returns the same object."""
        return self._timings[name, method]

    def failure(self, method: str, name: str, error: BaseException | str) -> None:
        """Record a failure without a response time: Locust counts it and its cause."""
        if self._stats is not None:
            self._stats.log_request(method, name, None, 0)
            self.only_failure(method, name, error)

    def only_failure(self, method: str, name: str, error: BaseException | str) -> None:
        """Record the failure of a request that was already timed and counted."""
        if self._stats is not None:
            self._stats.log_error(method, name, error)

    def attach(self, environment: Environment) -> None:
        """Feed this environment's statistics from now on, and make Locust show times with two decimals."""
        self._stats = environment.stats
        for cached in (self._stats, self._stats.total):
            cached.use_response_times_cache = False  # ``recent`` keeps the same in less memory
        show_decimals()
        bound_memory()
        # Registered before Locust's own listener of this event, so that Locust reports the flushed figures.
        environment.events.report_to_master.add_listener(self.flush)
        environment.events.test_stop.add_listener(self.flush)
        gevent.spawn(self._keep_flushing)

    def _keep_flushing(self) -> None:
        while True:
            gevent.sleep(FLUSH_SECONDS)
            self.flush()

    def flush(self, **_: Any) -> None:
        """Move the counts into Locust's statistics. Ignores arguments, so that Locust's events can call it."""
        pushed: Counter[float] = Counter()
        for (name, method), timing in self._timings.items():
            if timing.counts and self._stats is not None:
                counts, timing.counts = timing.counts, {}
                batch = _as_entry(self._stats, name, method, counts)
                self._stats.entries[name, method].extend(batch)
                self._stats.total.extend(batch)
                if method == PUSH and not name.endswith(SERVICE):
                    pushed.update(counts)
        if pushed:
            self._stats.entries[ALL_PUSHES, PUSH].extend(_as_entry(self._stats, ALL_PUSHES, PUSH, pushed))


def _as_entry(stats: RequestStats, name: str, method: str, counts: dict[float, int]) -> StatsEntry:
    """The counts as a separate Locust entry."""
    entry = StatsEntry(stats, name, method)
    now, n = time.time(), sum(counts.values())
    entry.num_requests = n
    entry.total_response_time = math.fsum(ms * count for ms, count in counts.items())
    entry.min_response_time = min(counts)
    entry.max_response_time = max(counts)
    entry.response_times = counts
    entry.num_reqs_per_sec[int(now)] = n
    entry.start_time = entry.last_request_timestamp = now
    return entry


# -- Locust's own displays cut times to whole milliseconds in five places; these replacements show decimals.


def show_decimals() -> None:
    """Make Locust keep and show hundredths of a millisecond, and N/A where nothing was timed. Idempotent."""
    replace("bucket_response_time", rounded)
    replace("StatsEntry.to_string", _to_string)
    replace("StatsEntry.percentile", _percentile_line)
    replace("StatsEntry.to_dict", _to_dict)
    replace("StatsCSV._percentile_fields", _percentile_fields)
    replace("StatsCSV._requests_data_rows", _requests_data_rows)


def percentile(entry: StatsEntry, share: float) -> float | None:
    """The percentile as Locust computes it; None if nothing was timed."""
    return entry.get_response_time_percentile(share) if entry.response_times else None


def _text(value: float | None) -> str:
    return NOT_TIMED if value is None else f"{value:.2f}"


def _summary(entry: StatsEntry) -> list[float | None]:
    """Average, minimum, maximum, median; None where nothing was timed."""
    if not entry.response_times:
        return [None] * 4
    return [entry.avg_response_time, entry.min_response_time, entry.max_response_time, entry.median_response_time]


def _to_string(self: StatsEntry, current: bool = True) -> str:
    rps = self.current_rps if current else self.total_rps
    failing = self.current_fail_per_sec if current else self.total_fail_per_sec
    width = locust.stats.STATS_NAME_WIDTH - locust.stats.STATS_TYPE_WIDTH + 4
    failures = f"{self.num_failures}({self.fail_ratio * 100:.2f}%)"
    average, low, high, median = (_text(value) for value in _summary(self))
    method = f"{self.method} " if self.method else ""
    return (
        f"{method:<{locust.stats.STATS_TYPE_WIDTH}} {self.name:<{width}} {self.num_requests:7d} {failures:>12} |"
        f"{average:>7} {low:>7} {high:>7}{median:>7} | {rps or 0:7.2f} {failing or 0:11.2f}"
    )


def _percentile_line(self: StatsEntry) -> str:
    first, *others = (_text(percentile(self, p)) for p in locust.stats.PERCENTILES_TO_REPORT)
    kind, name = locust.stats.STATS_TYPE_WIDTH, locust.stats.STATS_NAME_WIDTH
    values = " ".join(f"{value:>6}" for value in (*others, self.num_requests))
    return f"{self.method or '':<{kind}} {self.name:<{name}} {first:>8} {values}"


_original_to_dict = StatsEntry.to_dict


def _to_dict(self: StatsEntry, escape_string_values: bool = False) -> dict[str, Any]:
    values = _original_to_dict(self, escape_string_values)
    if self.response_times:
        values["min_response_time"] = round(self.min_response_time, 2)
        values["max_response_time"] = round(self.max_response_time, 2)
        return values
    return {key: NOT_TIMED if "response_time" in key else value for key, value in values.items()}


def _requests_data_rows(self: Any, csv_writer: Any) -> None:
    for entry in (*sort_stats(self.environment.stats.entries), self.environment.stats.total):
        average, low, high, median = (NOT_TIMED if value is None else value for value in _summary(entry))
        counts = (entry.method, entry.name, entry.num_requests, entry.num_failures)
        rates = (entry.avg_content_length, entry.total_rps, entry.total_fail_per_sec)
        csv_writer.writerow([*counts, median, average, low, high, *rates, *_percentile_fields(self, entry)])


def _percentile_fields(self: Any, entry: StatsEntry, use_current: bool = False) -> list[Any]:
    if not entry.response_times:
        return self.percentiles_na
    if use_current:
        current = (entry.get_current_response_time_percentile(p) for p in self.percentiles_to_report)
        return [NOT_TIMED if value is None else value for value in current]
    return [entry.get_response_time_percentile(p) for p in self.percentiles_to_report]
