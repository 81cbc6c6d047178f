"""The monitoring of the machine, and what a record says about it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chatsys.lab.provenance import program
from chatsys.lab.provenance.machine import MachineWatch, ProcessorSnapshot, describe

BURN = "import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"


@pytest.mark.process
def test_cpu_time_of_an_ended_child_counts_as_our_own():
    watch = MachineWatch()
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
def test_machine_is_quiet_unless_others_or_the_hypervisor_use_it(monkeypatch, busy, steal, own, said):
    """Ten seconds on two processors: 20 processor seconds."""
    taken = iter([ProcessorSnapshot(0.0, 0.0, 0.0, 0.0), ProcessorSnapshot(10.0, busy, steal, own)])
    monkeypatch.setattr(MachineWatch, "_snapshot", lambda _: next(taken))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    reasons = MachineWatch().reasons()
    assert [reason.startswith(beginning) for reason, beginning in zip(reasons, said, strict=True)] == [True] * len(said)


def test_record_describes_the_machine_and_the_server(postgres_server):
    found = describe(postgres_server.url, "postgresql://chatsys@/chatsys")
    assert {"chatsys", "commit", "dirty", "cpu", "cpus", "memory_bytes", "cgroup", "kernel", "python"} <= set(found)
    assert found["packages"]["asyncpg"]
    assert found["postgresql"]["file_system"]["type"]
    assert found["postgresql"]["version"].startswith("PostgreSQL")
    assert "/" not in "".join(value for name, value in found["postgresql"]["settings"].items() if "director" in name)


def package(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_digest_depends_on_the_package_content_and_not_on_its_path(tmp_path):
    database = package(tmp_path / "database", {"schema": "CREATE TABLE users ()"})
    checkout = package(tmp_path / "checkout", {"a": "1", "sub/b": "2"})
    installed = package(
        tmp_path / "installed",
        {"a": "1", "sub/b": "2", "data/reports": "3", "__pycache__/a": "4", "sub/__pycache__/b": "4", ".hidden": "5"},
    )
    assert program.digest(checkout, database) == program.digest(installed, database)
    changed = package(tmp_path / "changed", {"a": "1", "sub/b": "3"})
    moved = package(tmp_path / "moved", {"a": "1", "b": "2"})
    other = package(tmp_path / "other", {"schema": "CREATE TABLE rooms ()"})
    found = {program.digest(each, database) for each in (checkout, changed, moved)}
    assert len(found | {program.digest(checkout, other)}) == 4


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/usr/bin/python3", "/opt/bin/chatsys", "bench", "--only", "a,b"], "chatsys bench --only a,b"),
        (["/usr/bin/python3", "-m", "chatsys.lab.faults", "--out", "a b"], "python3 -m chatsys.lab.faults --out 'a b'"),
        (["python", "-O", "run.py"], "python -O run.py"),
        (["python", "x", "postgresql://me:secret@host/a"], "x 'postgresql://me:(hidden)@host/a'"),
    ],
)
def test_recorded_command_is_the_given_one_without_passwords(words, shown):
    assert program.command(words) == shown


@pytest.mark.process
def test_commit_is_named_only_if_the_package_is_in_the_repository(monkeypatch, tmp_path):
    assert (
        program._commit()
        == subprocess.run(
            ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"],
            cwd=program.PACKAGE,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    installed = tmp_path / "venv" / "chatsys"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.setattr(program, "PACKAGE", installed)
    assert program._commit() is None
    assert program.describe()["dirty"] is False
