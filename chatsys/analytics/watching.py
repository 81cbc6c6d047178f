"""Record the database's pulse in the background, as one time series."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

import pandas as pd

from chatsys.analytics.catalogue import QUERIES
from chatsys.errors import OperatorError, StoreError

SOURCES = ("pulse", "chat_totals")


class Watch:
    """Queries the pulse on a fixed schedule until its block ends. A failed query leaves a gap and is counted.

    A late query does not shift the next ones, and missed queries are not made up for.
    """

    def __init__(self, query: Callable[[str], pd.DataFrame], *, seconds: float | None, every: float) -> None:
        if every <= 0 or (seconds is not None and seconds <= 0):
            raise OperatorError("watch() needs times above 0.", hint="Example: monitor.watch(seconds=60, every=1)")
        self._query = query
        self._seconds = seconds
        self._every = every
        self._done = threading.Event()
        self._looks: list[pd.DataFrame] = []
        self._thread = threading.Thread(target=self._run, name="chatsys watch", daemon=True)
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def wait(self) -> None:
        """Block until ``seconds`` have passed."""
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        tick = 0
        while self._seconds is None or tick * self._every <= self._seconds:
            if self._done.wait(max(0.0, started + tick * self._every - time.monotonic())):
                break
            self._look()
            tick = max(tick + 1, int((time.monotonic() - started) / self._every))
        if self._done.is_set():
            self._look()  # so that the series reaches the end of the block

    def _look(self) -> None:
        try:
            frames = [self._query(source) for source in SOURCES]
        except StoreError as error:
            self.failures.append(f"{datetime.now(UTC).isoformat()} {error}")
            return
        row = pd.concat(frames, axis=1)
        row.insert(0, "taken_at", pd.Series([pd.Timestamp(frames[0].attrs["taken_at"])], dtype="datetime64[us, UTC]"))
        self._looks.append(row)

    def frame(self) -> pd.DataFrame:
        """The series so far: taken_at, elapsed_ms, the columns of pulse and chat_totals, and a rate for each counter.

        ``wal_bytes_total`` gives ``wal_bytes_per_second``, the rate since the row before. It is missing in the first
        row and after a reset.
        """
        looks = list(self._looks)
        series = pd.concat(looks, ignore_index=True) if looks else _empty()
        began = series["taken_at"].min()
        series.insert(1, "elapsed_ms", ((series["taken_at"] - began) / pd.Timedelta(milliseconds=1)).astype("float64"))
        gaps = series["elapsed_ms"].diff() / 1000
        for counter in (name for source in SOURCES for name in QUERIES[source].counters):
            grown = series[counter].astype("float64").diff()
            series[f"{counter.removesuffix('_total')}_per_second"] = grown.where(grown >= 0) / gaps
        series.attrs = {"every_seconds": self._every, "failures": list(self.failures)}
        return series


def _empty() -> pd.DataFrame:
    columns: dict[str, Any] = {"taken_at": pd.Series(dtype="datetime64[us, UTC]")}
    for source in SOURCES:
        columns |= {column.name: pd.Series(dtype=column.dtype) for column in QUERIES[source].columns}
    return pd.DataFrame(columns)
