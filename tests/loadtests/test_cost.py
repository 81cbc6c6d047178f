"""What a user costs the generator, measured alternately in one run: as a ratio, it depends on no machine's speed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.loadtests.conftest import ENVIRON, PATIENCE, ROOT


@pytest.mark.process
def test_received_push_costs_a_fifth_of_the_cpu_of_a_plain_locust_user() -> None:
    command = [sys.executable, "-m", "chatsys.loadtesting.cost", "--users", "60", "--pushes", "60", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ratio = re.search(r"costs ([\d.]+) times the CPU", done.stdout)
    assert ratio is not None
    assert float(ratio[1]) >= 5, done.stdout
