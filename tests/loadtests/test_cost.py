"""What a user costs the generator, by turns in one run: a ratio, so that no machine's speed is asked for."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.loadtests.conftest import ENVIRON, PATIENCE, ROOT


@pytest.mark.process
def test_a_received_push_costs_at_most_a_fifth_of_the_cpu_of_locust_s_own_user() -> None:
    command = [sys.executable, "-m", "chatsys.loadtesting.cost", "--users", "60", "--pushes", "60", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ratio = re.search(r"costs ([\d.]+) times the CPU", done.stdout)
    assert ratio is not None
    assert float(ratio[1]) >= 5, done.stdout
