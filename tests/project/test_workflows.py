"""What continuous integration runs: safe workflows, one script, one list of versions."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"


@pytest.mark.process
def test_zizmor_finds_nothing_in_the_workflows():
    program = Path(sys.executable).with_name("zizmor")
    found = subprocess.run(
        [program, "--offline", "--no-progress", "--persona", "pedantic", WORKFLOWS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_every_action_is_pinned_by_commit_and_names_its_version():
    for path in WORKFLOWS.glob("*.yml"):
        for line in re.findall(r"uses: .*", path.read_text()):
            assert re.fullmatch(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


@pytest.mark.process
def test_ci_script_is_bash_and_ends_in_make_test():
    script = ROOT / ".ci" / "run"
    subprocess.run(["bash", "-n", script], check=True)
    assert script.read_text().rstrip().endswith("make test")


def test_constraints_have_one_version_per_name_and_cover_the_dependencies():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {}
    for line in lines:
        found = re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)", line)
        assert found, line
        assert found[1] not in pinned, line
        pinned[found[1]] = found[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.match(r"[A-Za-z0-9-]+", each)[0].lower() for each in wanted} - {"chatsys"}
    assert names <= set(pinned)
