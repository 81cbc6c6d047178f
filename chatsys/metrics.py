"""Every number that ``/metrics`` shows, in Prometheus' units (contract §14.6).

Each process counts its own events; ``server.siblings`` adds up the processes that share a port. ``sessions`` and
``rooms`` are read from the store when a client requests ``/metrics``; the others are counted where they happen.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

_SIZES = tuple(2**power for power in range(15))
_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Durations(Collector):
    """A histogram of seconds with labels, at a tenth of the library's cost: for values observed at each event."""

    def __init__(self, name: str, about: str, labels: tuple[str, ...]) -> None:
        self._name, self._about, self._labels = name, about, labels
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        REGISTRY.register(self)

    def observe(self, labels: tuple[str, ...], seconds: float) -> None:
        """Count one duration."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(_SECONDS) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(_SECONDS, seconds)] += 1
        self._sums[labels] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The histogram as ``/metrics`` shows it."""
        family = HistogramMetricFamily(self._name, self._about, labels=self._labels)
        for labels, counts in self._counts.items():
            buckets, total = [], 0
            for bound, count in zip((*map(str, _SECONDS), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric(labels, buckets, self._sums[labels])
        yield family


processes = Gauge("chatsys_processes", "Server processes that these numbers include")
processes.set(1)
connections = Gauge("chatsys_connections", "Open Socket.IO connections")
sessions = Gauge("chatsys_sessions", "Sessions in all rooms, of all servers")
rooms = Gauge("chatsys_rooms", "Rooms with at least one session")
messages = Counter("chatsys_messages", "Messages stored")
deliveries = Counter("chatsys_deliveries", "Events handed to connections")
flush_size = Histogram("chatsys_flush_size", "Writes committed together by one flush", buckets=_SIZES)
flush_seconds = Histogram("chatsys_flush_seconds", "Time that one flush took", buckets=_SECONDS)
pool_wait_seconds = Histogram("chatsys_pool_wait_seconds", "Time spent waiting for a connection", buckets=_SECONDS)
waiting_bytes = Gauge(
    "chatsys_waiting_bytes",
    "Memory for data that waits for slow connections, as counted against their byte budgets",
)
slow_disconnects = Counter("chatsys_slow_disconnects", "Connections closed because their byte budget was spent")
loop_lag = Gauge("chatsys_event_loop_lag_seconds", "How late the event loop woke a timer, as last measured")
http_seconds = Durations("chatsys_http_seconds", "Time that one HTTP request took", ("method", "status"))
ack_seconds = Durations("chatsys_ack_seconds", "Time from an event to its acknowledgement", ("event",))
bus_outages = Counter("chatsys_bus_outages", "Outages of the bus between servers that are over")
bus_events = Counter("chatsys_bus_events", "Events sent to the bus, or received from it", ["direction"])
bus_sent, bus_received = bus_events.labels("sent"), bus_events.labels("received")
bus_dropped = Counter(
    "chatsys_bus_dropped", "What the bus dropped: garbage, forged or repeated messages; events on overflow", ["reason"]
)
for _reason in ("garbage", "forged", "repeated", "overflow"):
    bus_dropped.labels(_reason)
