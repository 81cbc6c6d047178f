"""Data persistence: SIGKILL ends a server, and then PostgreSQL, under traffic, and they are started again.

Each of eight guests sends its next message when the last one is acknowledged. Acknowledged messages that do not exist
after the restart are missing: none may be missing on PostgreSQL, and all are in memory.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from chatsys.lab.record import Survival
from chatsys.lab.runner.environment import Environment, Experiment
from chatsys.lab.subjects.servers import chat_server
from chatsys.lab.workloads.traffic import GuestTraffic, stored_ids

NAME = "persistence"
_ROOMS = [f"lab survival {number}" for number in range(8)]
_MESSAGES = 500  # acknowledged before the kill


async def perform(env: Environment) -> None:
    """Kill, restart and record what survived. Nothing is timed, so everything runs in parallel."""
    env.step("persistence: kill servers and PostgreSQL")
    kills = [asyncio.to_thread(server_killed, store, env.empty(store, "persistence")) for store in env.stores]
    if "postgresql" in env.stores:
        kills.append(asyncio.to_thread(postgresql_killed))
    env.result.persistence += await asyncio.gather(*kills)


def server_killed(store: str, url: str) -> Survival:
    """Kill the chat server under traffic, start it again, and look for the messages that it had acknowledged."""
    with chat_server(url) as first, GuestTraffic(first.url, _ROOMS) as traffic:
        traffic.wait_for(_MESSAGES)
        first.kill()
    return _survival(store, "server", url, traffic)


def postgresql_killed() -> Survival:
    """Kill every process of a private PostgreSQL under traffic, and then the chat server."""
    with TemporaryDirectory(prefix="chatsys-lab-", ignore_cleanup_errors=True) as folder:
        url = f"embedded://{folder}"
        with chat_server(url) as first, GuestTraffic(first.url, _ROOMS) as traffic:
            traffic.wait_for(_MESSAGES)
            _kill_postgresql(Path(folder))
            first.kill()
        return _survival("postgresql", "postgresql", url, traffic)


def _survival(store: str, killed: str, url: str, traffic: GuestTraffic) -> Survival:
    with chat_server(url) as second:
        missing = traffic.acknowledged.difference(*(stored_ids(second.url, room) for room in _ROOMS))
    return Survival(store=store, killed=killed, acknowledged=len(traffic.acknowledged), missing=len(missing))


def _kill_postgresql(home: Path) -> None:
    """Send SIGKILL to the postmaster and all its children, so that no shutdown checkpoint happens."""
    postmaster = psutil.Process(int((home / "data" / "postmaster.pid").read_text().split()[0]))
    for process in (postmaster, *postmaster.children(recursive=True)):
        process.kill()


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=lambda _: 1, perform=perform)
