"""The client's modules that use no page, under Node's own test runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chatsys.web.pages import FOLDER

UNITS = Path(__file__).parent / "unit"
SCRIPTS = sorted(FOLDER.glob("js/**/*.js"))


@pytest.mark.parametrize("file", sorted(path.name for path in UNITS.glob("*.test.mjs")))
def test_modules_without_a_page_pass_their_unit_tests(file: str) -> None:
    found = subprocess.run(["node", "--test", file], cwd=UNITS, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "\n# pass 0" not in found.stdout
    assert "# fail 0" in found.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_module_parses(script: Path) -> None:
    assert subprocess.run(["node", "--check", script], capture_output=True, timeout=30, check=False).returncode == 0
