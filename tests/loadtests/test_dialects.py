"""On a server with only the documented protocol, exactly what it drops and doubles is found."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.loadtests.conftest import ENVIRON, ROOT, free_master_port, locust, serving

pytestmark = pytest.mark.process

MEASURED = ("dropped", "doubled", "swapped", "renumbered", "not_stored", "not_acknowledged", "stored_twice", "gaps")
SMALL = ("--users", "20", "--run-time", "6", "--interval", "1", "--spawn-rate", "100")


def run(address: str, folder: Path, *options: str) -> dict[str, Any]:
    """Return the result of a load test of this address, including its exit status."""
    done = locust("--host", address, *options, "--out", str(folder), "--accounts", str(folder / "accounts.json"))
    assert "Traceback" not in done.stderr, done.stderr
    result: dict[str, Any] = json.loads((folder / "locust.json").read_text())
    return result | {"status": done.returncode, "said": done.stdout + done.stderr}


def planted(address: str) -> dict[str, int]:
    """Return what the server has done to pushes so far."""
    with urllib.request.urlopen(address + "/planted", timeout=10) as answer:
        found: dict[str, int] = json.load(answer)
    return found


def deviations(result: dict[str, Any]) -> dict[str, int]:
    """Return the deviations that the audit found, without the zeros."""
    total = result["audit"]["total"]
    return {name: total[name] for name in MEASURED if total[name]}


@pytest.mark.parametrize("fault", ["none", "faulty"])
def test_hundred_users_find_exactly_the_faults_of_a_minute(fault: str, tmp_path: Path) -> None:
    options = ("--users", "100", "--run-time", "60", "--interval", "10", "--room-sizes", "equal", "--tags", "send")
    with serving("documented_server", fault) as address:
        result = run(address, tmp_path, *options, "--spawn-rate", "50")
        expected = planted(address)
    total, names = result["audit"]["total"], ("dropped", "doubled")
    assert deviations(result) == {name: expected[name] for name in names if expected[name]}, result["said"]
    assert result["audit"]["incomplete"] == []
    assert total["sent"] == total["stored"] > 300, result["failures"]
    assert total["expected"] > 5000
    assert result["options"]["dialect"] == "documented"
    if fault == "none":
        assert result["verdict"] in {"VALID", "INVALID"}, result["reasons"]
        assert total["sent"] == total["acknowledged"], result["failures"]
    else:
        assert min(expected[name] for name in names) > 50
        assert (result["verdict"], result["status"]) == ("FAILED", 1)


@pytest.mark.parametrize("options", [(), ("--arrival", "poisson"), ("--processes", "2")])
def test_users_who_come_and_go_find_no_fault_in_a_correct_server(options: tuple[str, ...], tmp_path: Path) -> None:
    ports = free_master_port() if "--processes" in options else ()
    with serving("documented_server", "none") as address:
        result = run(address, tmp_path, *SMALL, *options, *ports)
        refused = planted(address)["refused"]
    assert deviations(result) == {}, result["said"]
    assert result["audit"]["incomplete"] == []
    assert result["failures"] == []
    figures = {f"{figure['method']} {figure['name']}": figure["count"] for figure in result["figures"]}
    assert figures["echo send-message"] > 0
    assert figures["load message-history"] > figures["connect websocket"] / 2
    assert refused > 0
    assert not any("search" in name for name in figures)


def test_several_processes_find_together_what_none_saw_alone(tmp_path: Path) -> None:
    options = (*SMALL, "--tags", "send", "--room-size", "4", "--processes", "2", *free_master_port())
    with serving("documented_server", "faulty") as address:
        result = run(address, tmp_path, *options)
        expected = planted(address)
    assert deviations(result) == {name: expected[name] for name in ("dropped", "doubled")}, result["said"]
    assert result["audit"]["incomplete"] == []


def test_first_join_distinguishes_chatsys_from_the_documented_protocol(tmp_path: Path) -> None:
    with serving("chat_server", "none") as address:
        result = run(address, tmp_path, *SMALL, "--tags", "send")
    assert result["options"]["dialect"] == "chatsys"
    assert deviations(result) == {}


def test_server_with_numbers_can_be_measured_with_the_documented_protocol(tmp_path: Path) -> None:
    with serving("chat_server", "none") as address:
        result = run(address, tmp_path, *SMALL, "--tags", "send", "--dialect", "documented")
    assert (result["options"]["dialect"], deviations(result)) == ("documented", {})
    assert "ack send-message" not in {f"{figure['method']} {figure['name']}" for figure in result["figures"]}


@pytest.mark.parametrize("name", ["klingon", "no.such:Dialect", "json:JSONDecoder"])
def test_invalid_dialect_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    with serving("chat_server", "none") as address:
        done = locust("--host", address, "--users", "1", "--dialect", name, "--accounts", str(tmp_path / "a.json"))
    assert done.returncode == 1
    assert f"--dialect {name}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_server_that_answers_no_join_is_reported_with_the_helpful_option(tmp_path: Path) -> None:
    with serving("chat_server", "mute") as address:
        done = locust("--host", address, "--users", "1", "--accounts", str(tmp_path / "accounts.json"))
    assert done.returncode == 1
    (sentence,) = [line for line in done.stderr.splitlines() if "does not say which protocol it speaks" in line]
    assert "give --dialect chatsys or documented, or a class of your own as module:Class." in sentence
    assert "Traceback" not in done.stderr


def documented_dialect() -> str:
    """Return the dialect that docs/LOADTESTING.md shows."""
    text = (ROOT / "docs/LOADTESTING.md").read_text()
    found = re.search(r"<!-- channels.py -->\n```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("fault", ["none", "faulty"])
def test_documented_dialect_measures_and_audits_another_chat(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "channels.py").write_text(documented_dialect())
    monkeypatch.setitem(ENVIRON, "PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    tags = ("--tags", "send") if fault == "faulty" else ()
    with serving("channel_server", fault) as address:
        result = run(address, tmp_path, *SMALL, *tags, "--dialect", "channels:Channels")
        expected = planted(address)
    assert deviations(result) == {name: count for name, count in expected.items() if count}, result["said"]
    assert expected["dropped"] == 0 or fault == "faulty"
    figures = {f"{figure['method']} {figure['name']}": figure["count"] for figure in result["figures"]}
    total = result["audit"]["total"]
    assert total["sent"] == total["acknowledged"] == total["stored"] > 20
    assert figures["ack enter"] >= 20
    assert figures["ack say"] > 0
    assert "POST /api/auth/register" not in figures


def test_documented_dialect_has_about_forty_lines() -> None:
    written = [line for line in documented_dialect().splitlines() if line.strip()]
    assert len(written) <= 42
