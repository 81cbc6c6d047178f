"""Backup and restore of a loaded database as an operator does it: dump, restore elsewhere, compare every table."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from chatsys.database.backup import backup
from chatsys.database.connecting import connected
from chatsys.database.fingerprint import differences, fingerprint
from chatsys.database.restore import restore
from chatsys.lab.datasets.databases import empty_database
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.record import Count
from chatsys.lab.runner.environment import Environment, Experiment

NAME = "backup"
_LARGEST = 10_000  # users and messages: a larger dump shows nothing new


async def perform(env: Environment) -> None:
    """Dump, restore and compare. Record seconds, bytes and the number of tables that differ."""
    size = max(n for n in env.profile.growth if n <= _LARGEST)
    env.step(f"backup and restore of {size:,} users and messages")
    url = env.database(Synthetic(size, size, env.seed))
    other = empty_database(env.server_url, "chatsys_lab_restored")
    env.result.counts += await asyncio.to_thread(_there_and_back, url, other)


def _there_and_back(url: str, other: str) -> list[Count]:
    with tempfile.TemporaryDirectory(prefix="chatsys-lab-") as folder:
        file = Path(folder, "backup.dump")
        began = time.monotonic()
        size = backup(url, file).size
        dumped = time.monotonic()
        restore(other, file)
        restored = time.monotonic()
    with connected(url) as before, connected(other) as after:
        expected, found = fingerprint(before), fingerprint(after)
    measured = {
        "tables compared": float(len(expected)),
        "tables that differ": float(len(differences(expected, found))),
        "bytes": float(size),
        "seconds to dump": dumped - began,
        "seconds to restore": restored - dumped,
    }
    return [Count(subject=NAME, metric=metric, value=value) for metric, value in measured.items()]


EXPERIMENT = Experiment(name=NAME, names=(NAME,), steps=lambda env: "postgresql" in env.stores, perform=perform)
