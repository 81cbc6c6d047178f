"""The record of a load test: its plan and its results."""

from __future__ import annotations

from typing import Any

import msgspec

from chatsys.results.upgrades import SCHEMA_VERSION


class LoadTestPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. ``minutes`` are per store; ``interval`` is in seconds, ``objective`` in ms."""

    scenario: str
    users: int
    store: str
    minutes: float
    interval: float = 20.0
    room_size: int = 20
    room_sizes: str = "zipf"
    receipts: float = 0.1
    arrival: str = "closed"
    objective: float = 200.0
    spawn_rate: float = 50.0
    processes: int = 1
    tags: tuple[str, ...] = ()
    seed: int = 1
    hosts: tuple[str, ...] = ()
    """Addresses of servers that already run; then ``store`` is ignored."""
    dialect: str = ""
    """The dialect of these servers (chatsys.loadtesting.dialects). If empty, the first join decides."""


class LoadTestRepetition(msgspec.Struct, kw_only=True):
    """One server, and one Locust with ``processes`` generator processes.

    ``store`` is the measured store, or the address of a server that already ran. ``locust`` is the generator's own
    result (chatsys.loadtesting.record).
    """

    number: int
    store: str
    folder: str
    verdict: str
    reasons: list[str]
    locust: dict[str, Any]
    processes: int = 1


class LoadTestRun(msgspec.Struct, kw_only=True):
    """A whole load test: ``result.json`` in its folder."""

    id: str
    created_at: str
    plan: LoadTestPlan
    environment: dict[str, Any]
    verdict: str
    repetitions: list[LoadTestRepetition]
    limitations: list[str]
    schema_version: int = SCHEMA_VERSION
