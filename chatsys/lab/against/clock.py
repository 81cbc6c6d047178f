"""Processor time of other processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

import psutil

_HAS_CLOCKS = sys.platform == "linux"


def cpu_nanoseconds(pids: Iterable[int]) -> int:
    """User and system time that these processes have used so far, all together; one that has ended counts nothing.

    Linux has a clock for each process that counts nanoseconds (clock_getcpuclockid(3): the pid inverted, shifted by
    three, and 2 for the scheduler's own account). Elsewhere the account is in hundredths of a second.
    """
    return sum(map(_of_one, pids))


def _of_one(pid: int) -> int:
    try:
        if _HAS_CLOCKS:
            return time.clock_gettime_ns(~pid << 3 | 2)
        return int(sum(psutil.Process(pid).cpu_times()[:2]) * 1e9)
    except (OSError, psutil.Error):
        return 0
