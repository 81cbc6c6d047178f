"""Watches the generator itself: a saturated one measures its own queue, and its run is INVALID."""

from __future__ import annotations

import os
import time

import gevent
import msgspec

LAG_EVERY = 0.1
CPU_EVERY = 1.0


class GeneratorLimits(msgspec.Struct, frozen=True):
    """Past one of these a run is INVALID; each is a share of what was sampled after warm-up."""

    cpu: float = 0.90
    """The generator is one thread: above this share of a core it is the bottleneck."""
    busy_share: float = 0.05
    """How many of the seconds may be above it."""
    lag_ms: float = 20.0
    """How late the 99th percentile of the generator's own timers may fire."""
    late_ms: float = 20.0
    """An open-loop send that starts later than this after its intended start is missed."""
    missed_share: float = 0.01


LIMITS = GeneratorLimits()


class Measurements(msgspec.Struct):
    """What was watched in one process. Histograms: CPU in whole percent, lag in whole tenths of a millisecond."""

    cpu: dict[int, int] = {}
    lag: dict[int, int] = {}
    starts: int = 0
    missed: int = 0
    steal: float = 0.0
    """The share of all the machine's CPU time that the hypervisor gave to others."""

    def stress(self) -> dict[str, int]:
        """Counts so far: seconds and how many were busy, timers and how many fired late."""
        return {
            "seconds": sum(self.cpu.values()),
            "busy": sum(n for percent, n in self.cpu.items() if percent > LIMITS.cpu * 100),
            "timers": sum(self.lag.values()),
            "late": sum(n for tenths, n in self.lag.items() if tenths > LIMITS.lag_ms * 10),
        }


def reasons(name: str, seen: Measurements, limits: GeneratorLimits = LIMITS) -> list[str]:
    """Why the run of the generator ``name`` is invalid; empty if it is not."""
    found = []
    seconds = sum(seen.cpu.values())
    if not seconds:
        return [f"{name}: nothing was measured after warm-up; the run was too short"]
    busy = sum(n for percent, n in seen.cpu.items() if percent > limits.cpu * 100)
    if busy > limits.busy_share * seconds:
        found.append(f"{name}: CPU above {limits.cpu:.0%} of a core in {busy} of {seconds} s; add --processes or hosts")
    lag = quantile(seen.lag, 0.99) / 10
    if lag > limits.lag_ms:
        found.append(f"{name}: its timers fired {lag:.1f} ms late at p99, over {limits.lag_ms:g} ms")
    if seen.missed > limits.missed_share * seen.starts:
        found.append(f"{name}: {seen.missed} of {seen.starts} sends began over {limits.late_ms:g} ms late")
    if seen.steal > 0.05:
        found.append(f"{name}: the hypervisor took {seen.steal:.0%} of the machine's CPU time")
    return found


def saturated(before: dict[str, int], after: dict[str, int], limits: GeneratorLimits = LIMITS) -> bool:
    """True if between two counts of :meth:`Measurements.stress` the generator measured itself."""
    seconds, busy, timers, late = (after[name] - before[name] for name in ("seconds", "busy", "timers", "late"))
    return busy > limits.busy_share * seconds or late > 0.01 * timers


def quantile(counts: dict[int, int], share: float) -> float:
    """The smallest key with at least ``share`` of the counts at or below it; 0 for no counts."""
    wanted, seen = share * sum(counts.values()), 0
    for key in sorted(counts):
        seen += counts[key]
        if seen >= wanted:
            return float(key)
    return 0.0


class GeneratorWatch:
    """Samples this process while it is measuring."""

    def __init__(self) -> None:
        self.seen = Measurements()
        self.lag_now = 0.0
        self._greenlets: list[gevent.Greenlet] = []
        self._ticks: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """Begin to sample; what was sampled before is forgotten."""
        self.stop()
        self.seen = Measurements()
        self._ticks = _steal_and_all()
        self._greenlets = [gevent.spawn(self._watch_cpu), gevent.spawn(self._watch_lag)]

    def stop(self) -> Measurements:
        """End sampling; what was seen."""
        if self._greenlets:
            gevent.killall(self._greenlets)
            self._greenlets = []
            steal, everything = _steal_and_all()
            self.seen.steal = (steal - self._ticks[0]) / max(1.0, everything - self._ticks[1])
        return self.seen

    def start_of_send(self, late_ms: float) -> None:
        """An open-loop send began this long after its intended start."""
        self.seen.starts += 1
        self.seen.missed += late_ms > LIMITS.late_ms

    def _watch_cpu(self) -> None:
        used, at = time.process_time(), time.monotonic()
        while True:
            gevent.sleep(CPU_EVERY)
            used_now, at_now = time.process_time(), time.monotonic()
            percent = round((used_now - used) / (at_now - at) * 100)
            used, at = used_now, at_now
            self.seen.cpu[percent] = self.seen.cpu.get(percent, 0) + 1

    def _watch_lag(self) -> None:
        while True:
            begun = time.monotonic()
            gevent.sleep(LAG_EVERY)
            self.lag_now = max(0.0, time.monotonic() - begun - LAG_EVERY) * 1000
            tenths = round(self.lag_now * 10)
            self.seen.lag[tenths] = self.seen.lag.get(tenths, 0) + 1


def _steal_and_all() -> tuple[float, float]:
    """Ticks stolen, and all ticks, of the whole machine; zeros where there is no /proc/stat."""
    if not os.path.exists("/proc/stat"):
        return 0.0, 0.0
    with open("/proc/stat") as file:
        ticks = [float(tick) for tick in file.readline().split()[1:]]
    return (ticks[7] if len(ticks) > 7 else 0.0), sum(ticks)
