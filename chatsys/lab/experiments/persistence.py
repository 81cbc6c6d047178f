"""Data persistence: a server, and then PostgreSQL, is killed with SIGKILL in mid-traffic and started again.

Eight guests send, each its next message when the last one is acknowledged. What was acknowledged and is not there
after the restart is missing: it must be nothing on PostgreSQL, and is everything in memory.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from chatsys.lab.record import Survival
from chatsys.lab.runner.environment import Environment, Experiment
from chatsys.lab.subjects.servers import chat_server
from chatsys.lab.workloads.traffic import GuestTraffic, stored_ids

NAME = "persistence"
_ROOMS = [f"lab survival {number}" for number in range(8)]
_MESSAGES = 500  # acknowledged before the kill


async def perform(env: Environment) -> None:
    """Kill and count, and write what survived into the record. Nothing is timed, so all of it goes on side by side."""
    env.step("persistence: kill servers and PostgreSQL")
    kills = []
    for store in env.stores:
        kills.append(asyncio.to_thread(server_killed, store, env.empty(store, "persistence")))
    if "postgresql" in env.stores:
        kills.append(asyncio.to_thread(postgresql_killed))
    env.result.persistence += await asyncio.gather(*kills)


def server_killed(store: str, url: str) -> Survival:
    """Kill the chat server in mid-traffic, start it again, and look for what it had acknowledged."""
    with chat_server(url) as first, GuestTraffic(first.url, _ROOMS) as traffic:
        traffic.wait_for(_MESSAGES)
        first.kill()
    return _survival(store, "server", url, traffic)


def postgresql_killed() -> Survival:
    """Kill every process of a private PostgreSQL in mid-traffic, and the chat server with it."""
    with _folder() as home:
        url = f"embedded://{home}"
        with chat_server(url) as first, GuestTraffic(first.url, _ROOMS) as traffic:
            traffic.wait_for(_MESSAGES)
            _kill_postgresql(home)
            first.kill()
        return _survival("postgresql", "postgresql", url, traffic)


def _survival(store: str, killed: str, url: str, traffic: GuestTraffic) -> Survival:
    with chat_server(url) as second:
        missing = traffic.acknowledged.difference(*(stored_ids(second.url, room) for room in _ROOMS))
    return Survival(store=store, killed=killed, acknowledged=len(traffic.acknowledged), missing=len(missing))


def _kill_postgresql(home: Path) -> None:
    """SIGKILL to the postmaster and all its children at once: no checkpoint, no farewell."""
    postmaster = psutil.Process(int((home / "data" / "postmaster.pid").read_text().split()[0]))
    for process in (postmaster, *postmaster.children(recursive=True)):
        process.kill()


@contextmanager
def _folder() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="chatsys-lab-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=lambda _: 1, perform=perform)
