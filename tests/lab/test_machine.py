"""The watch over the machine, and what a record says of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chatsys.lab import machine
from chatsys.lab.machine import Snapshot, Watch, describe

BURN = "import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"


def test_the_time_of_a_child_that_has_ended_is_our_own():
    watch = Watch()
    before = watch._snapshot()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert watch._snapshot().own - before.own >= 0.3


@pytest.mark.parametrize(
    ("busy", "steal", "own", "said"),
    [
        (2.0, 0.0, 2.0, []),
        (5.0, 0.0, 1.0, ["other programs"]),
        (1.0, 1.5, 1.0, ["the hypervisor"]),
        (5.0, 1.5, 1.0, ["other programs", "the hypervisor"]),
    ],
)
def test_a_machine_is_quiet_unless_others_or_the_hypervisor_use_it(monkeypatch, busy, steal, own, said):
    """Ten seconds on two processors: 20 processor seconds."""
    taken = iter([Snapshot(0.0, 0.0, 0.0, 0.0), Snapshot(10.0, busy, steal, own)])
    monkeypatch.setattr(Watch, "_snapshot", lambda _: next(taken))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    reasons = Watch().reasons()
    assert [reason.startswith(beginning) for reason, beginning in zip(reasons, said, strict=True)] == [True] * len(said)


def test_a_record_describes_the_machine_and_the_server(postgres_server):
    found = describe(postgres_server.url, "postgresql://chatsys@/chatsys")
    assert {"chatsys", "commit", "dirty", "cpu", "cpus", "memory_bytes", "cgroup", "kernel", "python"} <= set(found)
    assert found["packages"]["asyncpg"]
    assert found["postgresql"]["version"].startswith("PostgreSQL")
    assert "/" not in "".join(value for name, value in found["postgresql"]["settings"].items() if "director" in name)
