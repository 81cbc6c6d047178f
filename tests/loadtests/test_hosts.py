"""``chatsys loadtest --host`` and ``chatsys bench endpoints``: servers that are already running."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chatsys.lab.endpoints import Measured, table
from chatsys.lab.loadtest.counters import SAMPLES, ServerCounters
from chatsys.lab.loadtest.record import LoadTestPlan
from chatsys.lab.loadtest.run import limitations, order_of
from chatsys.lab.provenance.machine import MachineWatch
from chatsys.lab.subjects.servers import chat_server
from tests.loadtests.conftest import ENVIRON, PATIENCE, ROOT, serving

pytestmark = pytest.mark.process

SMALL = ("--users", "10", "--minutes", "0.1", "--interval", "1", "--tags", "send", "--spawn-rate", "100")


def chatsys(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of chatsys without a keyboard; it saves its files under ``folder``."""
    environ = ENVIRON | {"CHATSYS_DATA_DIR": str(folder / "data"), "COLUMNS": "300"}
    command = [sys.executable, "-m", "chatsys", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip


def test_running_server_is_measured_and_none_is_started(tmp_path: Path) -> None:
    with serving("documented_server", "none") as address:
        done = chatsys(
            "loadtest", "--host", address, "--yes", *SMALL, "--reports", str(tmp_path / "r"), folder=tmp_path
        )
    (folder,) = (tmp_path / "r").iterdir()
    run = json.loads((folder / "result.json").read_text())
    (repetition,) = run["repetitions"]
    assert done.returncode == {"VALID": 0, "INVALID": 2}[run["verdict"]], done.stdout + done.stderr
    assert repetition["store"] == address.removeprefix("http://")
    assert repetition["locust"]["options"]["dialect"] == "documented"
    assert repetition["locust"]["audit"]["total"]["delivered"] > 0
    assert not (folder / repetition["folder"] / "server.jsonl").exists()
    assert "send until confirmed" in done.stdout
    page = (folder / "index.html").read_text()
    assert "Side by side" in page
    assert "chatsys did not start the server" in page
    made = json.loads(next((tmp_path / "data" / "loadtest").iterdir()).read_text())["accounts"]
    assert {account["username"][:5] for account in made} == {"load_"}


def test_two_running_servers_alternate_in_the_same_dialect(tmp_path: Path) -> None:
    options = (*SMALL, "--minutes", "0.2", "--yes", "--reports", str(tmp_path / "r"))
    with serving("documented_server", "none") as one, serving("chat_server", "none") as other:
        chatsys("loadtest", "--host", one, "--against", other, *options, folder=tmp_path)
    (folder,) = (tmp_path / "r").iterdir()
    run = json.loads((folder / "result.json").read_text())
    addresses = [one.removeprefix("http://"), other.removeprefix("http://")]
    assert [repetition["store"] for repetition in run["repetitions"]] == [
        addresses[0],
        addresses[1],
        addresses[1],
        addresses[0],
    ]
    assert {repetition["locust"]["options"]["dialect"] for repetition in run["repetitions"]} == {"documented"}
    assert {repetition["verdict"] for repetition in run["repetitions"]} <= {"VALID", "INVALID"}, [
        repetition["reasons"] for repetition in run["repetitions"]
    ]


@pytest.mark.parametrize("command", [("loadtest",), ("bench", "endpoints")])
def test_nothing_is_written_to_a_running_server_without_confirmation(command: tuple[str, ...], tmp_path: Path) -> None:
    with serving("documented_server", "none") as address:
        done = chatsys(*command, "--host", address, folder=tmp_path)
    assert done.returncode == 1
    assert f"on {address.removeprefix('http://')}. Continue?" in done.stderr
    assert "Confirm it with --yes." in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--host", "http://127.0.0.1:9"), "Nothing listens at http://127.0.0.1:9 "),
        (("--host", "chat.example.org"), "'chat.example.org' is not the address of a server."),
        (("--host", "http://127.0.0.1:9", "--store", "memory"), "give --store or --host."),
        (("--against", "http://127.0.0.1:9"), "need --host."),
    ],
)
def test_impossible_measurement_is_refused_in_one_sentence(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    done = chatsys("loadtest", "--yes", *arguments, folder=tmp_path)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_run_that_cannot_begin_names_the_helpful_option(tmp_path: Path) -> None:
    options = (*SMALL, "--yes", "--reports", str(tmp_path / "r"))
    with serving("chat_server", "mute") as address:
        done = chatsys("loadtest", "--host", address, *options, folder=tmp_path)
    assert done.returncode == 1
    assert "does not say which protocol it speaks" in done.stdout
    assert "give --dialect chatsys or documented" in done.stdout


def test_endpoints_of_several_servers_are_measured_alternately(tmp_path: Path) -> None:
    with chat_server("memory://") as ours, serving("documented_server", "none") as theirs:
        options = ("--yes", "--calls", "20", "--markdown")
        done = chatsys("bench", "endpoints", "--host", ours.url, "--against", theirs, *options, folder=tmp_path)
    rows = {line.split("|")[1].strip(): line.split("|")[2:4] for line in done.stdout.splitlines() if "|" in line}
    timed = r"\d+\.\d\d, \d+\.\d\d"
    for operation in ("Get 100 messages", "Mark a message read", "Send a message"):
        for cell in rows[operation]:
            assert re.fullmatch(timed, cell.strip()), done.stdout + done.stderr
    assert "failed" not in rows["Search users"][0] + rows["Find a user by id"][0]
    assert rows["Search users"][1].strip() == "failed: 20 x HTTP 500"
    assert rows["Find a user by id"][1].strip() == "failed: 20 x a wrong answer"
    assert done.returncode == (2 if "INVALID: this client's own timers" in done.stdout else 1)


def test_only_the_named_database_of_a_running_server_is_watched(postgres_url: str, tmp_path: Path) -> None:
    samples = tmp_path / SAMPLES
    with ServerCounters(None, postgres_url, tmp_path, MachineWatch()) as counters:
        deadline = time.monotonic() + 60
        while not (samples.exists() and samples.read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert counters.trouble == []
    assert {name for line in samples.read_text().splitlines() for name in json.loads(line)} == {
        "time", "database", "database_cpu",
    }  # fmt: skip


def test_table_shows_times_or_why_they_are_missing() -> None:
    names = ("find_user_by_id", "recent_messages", "mark_read", "search_users", "send_message")
    measured = [Measured(name, "a", ms=[1.0, 2.0, 3.0]) for name in names]
    measured += [Measured(name, "b", failures={"HTTP 500": 3}) for name in names]
    assert table(measured).rows[0] == ("Find a user by id", "2.00, 2.98", "failed: 3 x HTTP 500")


def test_running_servers_alternate_and_unknown_facts_are_stated() -> None:
    plan = LoadTestPlan(scenario="steady", users=1, store="both", minutes=1, hosts=("http://a:1", "http://b:2"))
    assert order_of(plan) == ("http://a:1", "http://b:2", "http://b:2", "http://a:1")
    said = " ".join(limitations(plan))
    assert "a:1 b:2 b:2 a:1" in said
    assert "loopback" not in said
