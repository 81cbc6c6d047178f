"""The record of a load test: what was to be run, and what was seen."""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA_VERSION = 1


class LoadTestPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. ``minutes`` are those of each store; ``interval`` in seconds, ``objective`` in ms."""

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
    """Addresses of servers that run already; ``store`` then means nothing."""
    dialect: str = ""
    """What they speak (chatsys.loadtesting.dialects); empty lets the first join decide."""


class LoadTestRepetition(msgspec.Struct, kw_only=True):
    """One server and one Locust of so many ``processes``. ``store`` is what was measured: a store, or the address of a
    server that ran already. ``locust`` is the generator's own result (chatsys.loadtesting.record)."""

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
    turns: list[LoadTestRepetition]
    limitations: list[str]
    schema_version: int = SCHEMA_VERSION
