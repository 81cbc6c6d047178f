"""Monitors the generator itself: a saturated generator measures its own queue, so its run is INVALID."""

from __future__ import annotations

import time

import gevent
import msgspec
import psutil

LAG_EVERY = 0.1
CPU_EVERY = 1.0


class GeneratorLimits(msgspec.Struct, frozen=True):
    """A run that exceeds one of these limits after warm-up is INVALID."""

    cpu: float = 0.90
    """CPU as a share of a core. The generator has one thread, so above this share it is the bottleneck."""
    busy_share: float = 0.05
    """The share of seconds that may be above ``cpu``."""
    lag_ms: float = 20.0
    """How late the generator's own timers may fire at the 99th percentile."""
    late_ms: float = 20.0
    """An open-loop send counts as missed if it starts later than this after its intended start."""
    missed_share: float = 0.01
    """The share of sends that may be missed."""


LIMITS = GeneratorLimits()


class Measurements(msgspec.Struct):
    """What one process measured of itself. ``cpu`` and ``lag`` are histograms of whole percents and of 0.1 ms."""

    cpu: dict[int, int] = {}
    lag: dict[int, int] = {}
    starts: int = 0
    missed: int = 0
    steal: float = 0.0
    """The share of the machine's CPU time that the hypervisor gave to other machines."""

    def stress(self) -> dict[str, int]:
        """Counts so far: seconds, busy seconds, timers, and timers that fired late."""
        return {
            "seconds": sum(self.cpu.values()),
            "busy": sum(n for percent, n in self.cpu.items() if percent > LIMITS.cpu * 100),
            "timers": sum(self.lag.values()),
            "late": sum(n for tenths, n in self.lag.items() if tenths > LIMITS.lag_ms * 10),
        }


def reasons(name: str, seen: Measurements) -> list[str]:
    """The reasons why the run of the generator ``name`` is invalid; empty if it is valid."""
    found, counts = [], seen.stress()
    seconds, busy = counts["seconds"], counts["busy"]
    if not seconds:
        return [f"{name}: nothing was measured after warm-up; the run was too short"]
    if busy > LIMITS.busy_share * seconds:
        found.append(f"{name}: CPU above {LIMITS.cpu:.0%} of a core in {busy} of {seconds} s; add --processes or hosts")
    lag = quantile(seen.lag, 0.99) / 10
    if lag > LIMITS.lag_ms:
        found.append(f"{name}: its timers fired {lag:.1f} ms late at p99, over {LIMITS.lag_ms:g} ms")
    if seen.missed > LIMITS.missed_share * seen.starts:
        found.append(f"{name}: {seen.missed} of {seen.starts} sends began over {LIMITS.late_ms:g} ms late")
    if seen.steal > 0.05:
        found.append(f"{name}: the hypervisor took {seen.steal:.0%} of the machine's CPU time")
    return found


def saturated(before: dict[str, int], after: dict[str, int]) -> bool:
    """True if the generator was saturated between two counts of :meth:`Measurements.stress`."""
    seconds, busy, timers, late = (after[name] - before[name] for name in ("seconds", "busy", "timers", "late"))
    return busy > LIMITS.busy_share * seconds or late > 0.01 * timers


def quantile(counts: dict[int, int], share: float) -> float:
    """The smallest key with at least ``share`` of the counts at or below it; 0 if there are no counts."""
    target, seen = share * sum(counts.values()), 0
    for key in sorted(counts):
        seen += counts[key]
        if seen >= target:
            return float(key)
    return 0.0


class GeneratorWatch:
    """Samples the CPU and timer lag of this process while it measures."""

    def __init__(self) -> None:
        self.seen = Measurements()
        self.lag_now = 0.0
        self._greenlets: list[gevent.Greenlet] = []
        self._times: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """Discard earlier samples and begin to sample."""
        self.stop()
        self.seen = Measurements()
        self._times = _machine_times()
        self._greenlets = [gevent.spawn(self._watch_cpu), gevent.spawn(self._watch_lag)]

    def stop(self) -> Measurements:
        """End sampling and return the measurements."""
        if self._greenlets:
            gevent.killall(self._greenlets)
            self._greenlets = []
            steal, everything = _machine_times()
            self.seen.steal = (steal - self._times[0]) / max(1.0, everything - self._times[1])
        return self.seen

    def start_of_send(self, late_ms: float) -> None:
        """Count an open-loop send that began this long after its intended start."""
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
            began = time.monotonic()
            gevent.sleep(LAG_EVERY)
            self.lag_now = max(0.0, time.monotonic() - began - LAG_EVERY) * 1000
            tenths = round(self.lag_now * 10)
            self.seen.lag[tenths] = self.seen.lag.get(tenths, 0) + 1


def _machine_times() -> tuple[float, float]:
    """The machine's stolen CPU time and all its CPU time in seconds; only Linux reports the first."""
    times = psutil.cpu_times()
    return getattr(times, "steal", 0.0), sum(times)
