"""``chatsys demo`` keeps its promises, and leaves nothing behind even if it is interrupted."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flow.serving import clean_environment
from tests.leftovers import assert_gone

pytestmark = pytest.mark.process

PATIENCE = 180


@contextmanager
def demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command with ``folder`` for its temporary files."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chatsys", "demo"],
        cwd=folder,
        env=clean_environment(TMPDIR=str(folder), PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def folder(server_folder: Path) -> Path:
    """A folder that the account of an embedded PostgreSQL can enter."""
    return server_folder


def test_demo_shows_that_nothing_is_missing(folder: Path) -> None:
    with demo(folder) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode in {0, 2}, said  # 2: the machine was too busy to measure
    assert "Nothing is missing: 6 messages written, each stored once and received once by both, in order." in said
    assert re.search(r"kill -9 \d+", said)
    (number, missed), *_ = re.findall(r"Bob rejoins. The last .* was number (\d), so he gets the (\d)", said)
    assert int(number) + int(missed) == 4
    seconds = re.findall(r"^ +([\d,]+) users: .*; (.*)$", said, re.MULTILINE)
    assert len(seconds) >= 10, said
    assert {words for _, words in seconds} == {"nothing lost"}
    written, stored, due, came = (
        int(number.replace(",", ""))
        for number in re.findall(
            r"([\d,]+) messages were sent and ([\d,]+) stored; ([\d,]+) deliveries were expected and ([\d,]+) arrived",
            said,
        )[0]
    )
    assert written == stored > 0
    assert due == came > written
    assert re.search(r"^Verdict: (VALID|INVALID)\.", said, re.MULTILINE)
    assert_gone(folder)


@pytest.mark.parametrize(
    ("moment", "number", "times"),
    [
        ("starts a private PostgreSQL and a chat server", signal.SIGINT, 1),
        ("Two people join", signal.SIGTERM, 1),
        ("20 s of load", signal.SIGINT, 1),
        ("20 s of load", signal.SIGINT, 3),
    ],
    ids=["starting", "early", "late", "impatient"],
)
def test_interrupted_demo_leaves_nothing_behind(folder: Path, moment: str, number: int, times: int) -> None:
    with demo(folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if moment in line:
                break
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.2)
        said = process.stdout.read()
        assert process.wait(PATIENCE) == 130
    assert said.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in said
    assert_gone(folder)
