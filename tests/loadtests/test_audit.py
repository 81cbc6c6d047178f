"""The audit of a server with one deliberate fault, from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatsys.results.audit import DEVIATIONS
from tests.loadtests.conftest import locust, serving

FAULTS = {
    "dropped": {"dropped"},
    "doubled": {"doubled"},
    "swapped": {"swapped"},
    "unstored": {"not_stored", "gaps"},
}


@pytest.mark.process
@pytest.mark.parametrize("fault", FAULTS)
def test_audit_detects_and_names_the_fault_and_the_run_fails(fault: str, tmp_path: Path) -> None:
    with serving("chat_server", fault) as address:
        done = locust(
            *("--host", address, "--users", "10", "--run-time", "4", "--interval", "1", "--tags", "send", "typing"),
            *("--spawn-rate", "100", "--out", str(tmp_path), "--accounts", str(tmp_path / "accounts.json")),
        )
    result = json.loads((tmp_path / "locust.json").read_text())
    total = result["audit"]["total"]
    assert total["sent"] > 10, done.stdout
    found = {name for name in DEVIATIONS if total[name]}
    assert found == FAULTS[fault], done.stdout
    assert result["audit"]["examples"]
    assert (result["verdict"], done.returncode) == ("FAILED", 1)
