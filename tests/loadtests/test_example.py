"""The example for other servers in docs/LOADTESTING.md, run against a stock server."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from tests.loadtests.conftest import ENVIRON, PATIENCE, ROOT


def example() -> str:
    """The documented locustfile."""
    found = re.search(r"(?<!-->\n)```python\n(.*?)```", (ROOT / "docs/LOADTESTING.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_example_equals_the_docstring_and_has_at_most_fifteen_lines() -> None:
    source = (ROOT / "chatsys/loadtesting/socketio_user.py").read_text()
    shown = dedent(source.split("::\n\n", 1)[1].split('"""', 1)[0])
    assert shown.strip() == example().strip()
    assert len(example().strip().splitlines()) <= 15


def test_example_times_calls_and_pushes_of_a_reference_server(reference_server: str, tmp_path: Path) -> None:
    locustfile = tmp_path / "shop.py"
    locustfile.write_text(example())
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--host", reference_server]
    command += ["-u", "3", "-r", "10", "-t", "8", "--csv", str(tmp_path / "shop")]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "shop_stats.csv").open() as file:
        counts = {f"{row['Type']} {row['Name']}": int(row["Request Count"]) for row in csv.DictReader(file)}
    assert counts["connect websocket"] == 3
    assert counts["ack buy"] > 0
    assert counts["push price"] > 0
