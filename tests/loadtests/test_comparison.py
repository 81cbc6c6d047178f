"""The scripts with which docs/LOADTESTING.md compares tools: Locust's own user runs, the others parse."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chatsys.lab.subjects.servers import chat_server
from tests.loadtests.conftest import ENVIRON, PATIENCE, ROOT

SCRIPTS = ROOT / "loadtests" / "comparison"


@pytest.mark.process
def test_plain_locust_user_joins_sends_and_receives(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(SCRIPTS / "contrib.py"), "--headless", "-u", "5", "-r", "50"]
    with chat_server("memory://") as server:
        done = subprocess.run(
            [*command, "-t", "5s", "--host", server.url, "--csv", str(tmp_path / "run")],
            cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "run_stats.csv").open() as file:
        counts = {(row["Type"], row["Name"]): int(row["Request Count"]) for row in csv.DictReader(file)}
    assert counts["WSC", "join"] == 5
    assert counts["WSC", "send-message"] > 0
    assert counts["WSR", "receive-message"] > counts["WSC", "send-message"]


@pytest.mark.process
def test_scripts_of_the_other_tools_can_be_parsed(tmp_path: Path) -> None:
    assert yaml.safe_load((SCRIPTS / "artillery.yml").read_text())["config"]["processor"] == "./artillery.js"
    for script in (SCRIPTS / "artillery.js", SCRIPTS / "k6.js", ROOT / "chatsys" / "loadtesting" / "cost.k6.js"):
        module = tmp_path / (script.stem + (".cjs" if script.name == "artillery.js" else ".mjs"))
        module.write_text(script.read_text())
        subprocess.run(["node", "--check", str(module)], check=True)
