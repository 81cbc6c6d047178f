"""What this machine knows about a process by its name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chatsys.store.postgres.processes import is_running, this_process

TELL = "from chatsys.store.postgres.processes import this_process; print(this_process(), flush=True); input()"


def renamed(index: int, word: str) -> str:
    """Return the name of this process with one word replaced."""
    words = (this_process() or "").split(" ")
    words[index] = word
    return " ".join(words)


def test_own_process_is_running() -> None:
    assert is_running(this_process()) is True


@pytest.mark.process
def test_killed_process_is_gone_before_and_after_its_parent_collects_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    name = child.stdout.readline().strip()
    assert is_running(name) is True
    child.kill()
    child.stdout.read()  # its end closes the pipe; until communicate() it is a zombie
    while is_running(name):
        pass
    assert is_running(name) is False
    child.communicate()
    assert is_running(name) is False


def test_other_process_with_the_same_pid_is_distinguished() -> None:
    assert is_running(renamed(3, "1")) is False


def test_processes_of_other_machines_and_containers_are_unknown() -> None:
    for name in (renamed(0, "another-boot"), renamed(1, "pid:[1]"), None, "", "x", "a b c d"):
        assert is_running(name) is None
