"""Processor time of other processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

import psutil

_HAS_CLOCKS = sys.platform == "linux"


def cpu_nanoseconds(pids: Iterable[int]) -> int:
    """The total user and system time that these processes have used so far; an ended process counts as 0.

    Linux has a clock in nanoseconds for each process. Its id is the inverted pid, shifted by three, with 2 for the
    scheduler's own account (clock_getcpuclockid(3)). Other systems count hundredths of a second.
    """
    return sum(map(_of_one, pids))


def _of_one(pid: int) -> int:
    try:
        if _HAS_CLOCKS:
            return time.clock_gettime_ns(~pid << 3 | 2)
        return int(sum(psutil.Process(pid).cpu_times()[:2]) * 1e9)
    except (OSError, psutil.Error):
        return 0
