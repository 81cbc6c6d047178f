"""Chatsys conforms to the protocol on both stores and over both transports, and the command says so."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree as Xml

import httpx
import pytest

from chatsys.lab.conformance import report, runner
from chatsys.lab.conformance.check import CHECKS, CheckResult, Outcome, chosen
from chatsys.lab.conformance.checks import all_checks
from chatsys.lab.conformance.http import Answer, Http
from chatsys.web.catalogue import OPERATIONS
from tests.conftest import free_port
from tests.web import described

from .faults import FAULTS
from .standin import standing_in

all_checks()


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str, int]]:
    """Check that each answer is one that ``/openapi.json`` describes; return the answers so far."""
    found = set()
    sent = Http._sent

    async def judging(http: Http, method: str, path: str, content: bytes | None, headers: Any) -> Answer:
        answer = await sent(http, method, path, content, headers)
        if not path.startswith("/socket.io"):
            found.add(described.check(method, path, answer.status, answer.headers, answer.content))
        return answer

    monkeypatch.setattr(Http, "_sent", judging)
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("transport", "sections"),
    # over polling only the checks that use clients
    [("websocket", []), ("polling", ["3.3", "5.5", "6", "7", "8", "9", "10", "14"])],
    ids=["websocket", "polling"],
)
async def test_chatsys_passes_every_conformance_check(
    server_url: str, transport: str, sections: list[str], judged: set[tuple[str, str, int]]
) -> None:
    shown: list[tuple[int, int, str]] = []
    checks = chosen(CHECKS.values(), sections)
    found = await runner.run(server_url, checks, transport, lambda *step: shown.append(step))
    others = [
        f"§{each.check.section} {each.check.name}: {each.reason}" for each in found.results if each.outcome != "passed"
    ]
    assert not others, "\n".join(others)
    assert [result.check for result in found.results] == checks
    assert sorted(shown) == sorted((number, len(checks), name) for number, _, name in shown)
    assert [number for number, _, _ in shown] == list(range(1, len(checks) + 1))
    reached = {(method, path) for method, path, status in judged if status < 300}
    assert reached >= {(row.method, row.path) for row in OPERATIONS if row.subject == "rooms"}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chatsys", "conformance", *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_command_prints_a_table_and_the_prefix_of_its_names(sound_url: str) -> None:
    found = command(sound_url, "--section", "11", "--section", "1.8", "--yes")
    assert (found.returncode, found.stderr) == (0, "")
    assert "§1 Conventions" in found.stdout
    assert "§11 Health and root" in found.stdout
    assert "§9 Events" not in found.stdout
    assert found.stdout.rstrip().rpartition(" ")[2].startswith("conf_")


def test_names_that_a_run_creates_have_its_prefix(sound_url: str) -> None:
    before = _names(sound_url)
    found = command(sound_url, "--section", "6.4", "--section", "8.3", "--yes")
    assert found.returncode == 0, found.stdout
    prefix = found.stdout.rstrip().rpartition(" ")[2].rstrip(".")
    made = _names(sound_url) - before
    assert made
    assert [name for name in made if not name.startswith(prefix)] == []


def _names(url: str) -> set[str]:
    """Return the names of the rooms and of the newest accounts."""
    rooms, after = set(), ""
    while True:
        page = httpx.get(f"{url}/api/rooms", params={"after": after}, timeout=30).json()
        rooms |= {room["name"] for room in page["data"]}
        if "next" not in page:
            break
        after = page["next"]
    return rooms | {user["username"] for user in httpx.get(f"{url}/api/users", timeout=30).json()["users"]}


def test_command_writes_json(sound_url: str) -> None:
    found = command(sound_url, "--section", "11.1", "--yes", "--format", "json")
    plain = json.loads(found.stdout)
    assert (found.returncode, plain["passed"], plain["failed"]) == (0, 2, 0)
    assert [check["section"] for check in plain["checks"]] == ["11.1", "11.1"]
    assert plain["prefix"] in found.stderr


async def test_junit_report_counts_failed_and_inapplicable_checks(sound_url: str) -> None:
    _, name, fault = FAULTS["health without a time"]
    async with standing_in(sound_url, fault) as stand_in:
        run = await runner.run(stand_in.url, chosen(CHECKS.values(), ["11.1"]), "websocket", lambda *_: None)
    run.results.append(
        CheckResult(check=CHECKS["metrics_are_prometheus_text"], outcome=Outcome.not_applicable, reason="why \0 not")
    )
    root = Xml.fromstring(report.as_junit(run))
    suites = {suite.get("name"): suite for suite in root}
    health = suites["§11 Health and root"]
    assert (health.get("tests"), health.get("failures"), health.get("skipped")) == ("2", "2", "0")
    assert suites["§14 Additions"].get("skipped") == "1"
    (failure,) = [case.find("failure") for case in health if case.get("name") == name]
    assert failure is not None
    assert "lacks timestamp" in str(failure.get("message"))
    assert "> GET /api/health" in str(failure.text)


async def test_failed_check_gives_exit_status_1(sound_url: str) -> None:
    async with standing_in(sound_url, FAULTS["health without a time"][2]) as stand_in:
        found = await asyncio.to_thread(command, stand_in.url, "--section", "11.1", "--yes")
    assert found.returncode == 1
    assert "FAILED §11.1 health_shows_the_time" in found.stdout


def test_unreachable_server_gives_exit_status_2() -> None:
    port = free_port()
    found = command(f"http://127.0.0.1:{port}", "--yes")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f"Error: No server answers HTTP at 127.0.0.1:{port}.")
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:9", "--yes", "--section", "99"], "No check belongs to section '99'"),
        (["ftp://127.0.0.1:9", "--yes"], "'ftp://127.0.0.1:9' is not the address of a server."),
        (["http://127.0.0.1:9"], "checks will create accounts, rooms and messages on 127.0.0.1:9"),
        (["http://127.0.0.1:9", "--format", "xml"], "'xml' is not one of 'text', 'json', 'junit'"),
    ],
)
def test_run_that_cannot_start_gives_exit_status_2(arguments: list[str], said: str) -> None:
    found = command(*arguments)
    assert (found.returncode, found.stdout.strip()) == (2, "")
    assert said in found.stderr
    assert "Traceback" not in found.stderr


def test_no_request_is_sent_without_a_confirmation(sound_url: str) -> None:
    before = _names(sound_url)
    found = command(sound_url, "--section", "4.1")
    assert found.returncode == 2
    assert found.stdout.strip() == ""
    assert "Confirm it with --yes" in found.stderr
    assert _names(sound_url) == before
