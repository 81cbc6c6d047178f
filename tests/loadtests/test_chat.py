"""``locust -f loadtests/chat.py`` and ``chatsys loadtest`` from end to end."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from chatsys.cli import app
from chatsys.cli.loadtest import ScenarioName, Tag
from chatsys.lab.loadtest.record import LoadTestPlan
from chatsys.lab.loadtest.run import order_of, verdict_of
from chatsys.loadtesting.scenarios import SCENARIOS
from chatsys.loadtesting.weights import ACTIVITIES
from tests.loadtests.conftest import ENVIRON, PATIENCE, ROOT, free_master_port, locust, serving

pytestmark = pytest.mark.process

DEVIATIONS = ("dropped", "doubled", "swapped", "renumbered", "not_stored", "not_acknowledged")


def assert_nothing_lost(result: dict[str, Any]) -> None:
    """Check that everything was sent, stored and delivered once. A busy machine may only make a run INVALID."""
    audit, total = result["audit"], result["audit"]["total"]
    assert audit["incomplete"] == []
    assert {name: total[name] for name in DEVIATIONS} == dict.fromkeys(DEVIATIONS, 0)
    assert total["sent"] == total["acknowledged"] == total["stored"] > 0
    assert total["expected"] == total["delivered"] > total["sent"]
    assert result["failures"] == []
    assert result["verdict"] in {"VALID", "INVALID"}, result["reasons"]


@pytest.mark.parametrize("store", ["memory", "postgresql"])
def test_one_command_starts_a_server_loads_it_and_reports(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environ = dict(ENVIRON)
    if store == "postgresql":
        environ["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    command = [sys.executable, "-m", "chatsys", "loadtest", "--store", store, "--users", "20", "--minutes", "0.1"]
    command += ["--interval", "1", "--room-size", "5", "--scenario", "storm", "--reports", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    (folder,) = tmp_path.iterdir()
    run = json.loads((folder / "result.json").read_text())
    (repetition,) = run["repetitions"]
    assert_nothing_lost(repetition["locust"])
    assert done.returncode == {"VALID": 0, "INVALID": 2}[run["verdict"]], done.stdout + done.stderr
    timed = ("POST /api/auth/login", "connect websocket", "ack join", "load message-history", "ack send-message")
    for name in timed:
        assert [
            f for f in repetition["locust"]["figures"] if f"{f['method']} {f['name']}" == name and f["histogram"]
        ], name
    said = (folder / repetition["folder"] / "locust.log").read_text()
    assert "Registering" not in said, "the accounts were in the store before the server started"
    samples = [json.loads(line) for line in (folder / repetition["folder"] / "server.jsonl").read_text().splitlines()]
    assert samples[-1]["metrics"]
    assert ("database" in samples[-1]) == (store == "postgresql")
    page = (folder / "index.html").read_text()
    for heading in ("Verdict", "Push latency", "Over time", "Audit", "Validity"):
        assert f">{heading}</h2>" in page


def test_workers_are_added_up_and_all_outputs_show_the_same_figures(tmp_path: Path) -> None:
    with serving("chat_server", "none") as address:
        done = locust(
            *("--host", address, "--users", "20", "--run-time", "4", "--interval", "1", "--processes", "2"),
            *free_master_port(),
            *("--spawn-rate", "100", "--out", str(tmp_path), "--accounts", str(tmp_path / "accounts.json")),
            *("--csv", str(tmp_path / "figures"), "--html", str(tmp_path / "report.html")),
        )
    result = json.loads((tmp_path / "locust.json").read_text())
    assert_nothing_lost(result)
    assert len(result["generators"]) == 2
    assert done.returncode == {"VALID": 0, "INVALID": 2}[result["verdict"]]
    assert len(list(tmp_path.glob("accounts-*.json"))) == 2
    _, _, reasons = done.stdout.rpartition("Verdict: ")
    assert reasons.startswith(result["verdict"]), "the verdict is the last thing that is printed"
    assert all(line.startswith("  ") for line in reasons.splitlines()[1:])
    section = (tmp_path / "report.html").read_text().rpartition('<section id="chatsys"')[2]
    assert f"<td>{result['verdict']}</td>" in section
    assert f"<th scope=row>delivered</th><td>{result['audit']['total']['delivered']}</td>" in section
    with (tmp_path / "figures_stats.csv").open() as file:
        table = {(row["Type"], row["Name"]): row for row in csv.DictReader(file)}
    arguments = re.search(r"window.templateArgs = (\{.*?\})\s*\n", unescape((tmp_path / "report.html").read_text()))
    assert arguments is not None
    shown = {(row["method"], row["name"]): row for row in json.loads(arguments[1])["requests_statistics"]}
    timed = [figure for figure in result["figures"] if figure["histogram"]]
    assert timed
    for figure in timed:
        key = (figure["method"], figure["name"])
        assert int(table[key]["Request Count"]) == shown[key]["num_requests"] == figure["count"]
        assert float(table[key]["Median Response Time"]) == shown[key]["median_response_time"]
        assert float(table[key]["99%"]) == shown[key]["response_time_percentile_0.99"]
        assert float(table[key]["100%"]) == figure["histogram"][-1][0]
        assert sum(count for _, count in figure["histogram"]) == figure["count"]


def test_open_loop_reports_response_and_service_time(tmp_path: Path) -> None:
    with serving("chat_server", "none") as address:
        locust(
            *("--host", address, "--users", "10", "--run-time", "4", "--interval", "1", "--arrival", "poisson"),
            *("--spawn-rate", "100", "--out", str(tmp_path), "--accounts", str(tmp_path / "accounts.json")),
        )
    result = json.loads((tmp_path / "locust.json").read_text())
    assert_nothing_lost(result)
    counts = {f"{figure['method']} {figure['name']}": figure["count"] for figure in result["figures"]}
    assert counts["ack send-message"] == counts["ack send-message (service)"] > 0
    (seen,) = result["generators"].values()
    assert seen["starts"] > 0


def test_workers_on_two_hosts_are_audited_together_and_timed_separately(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with serving("chat_server", "none") as address:
        workers = []
        for number, locustfile in enumerate(("loadtests/chat.py", "tests/loadtests/elsewhere.py")):
            command = [sys.executable, "-m", "locust", "-f", locustfile, "--worker", "--master-host", "127.0.0.1"]
            command += ["--master-port", port, "--accounts", str(tmp_path / f"accounts-{number}.json")]
            workers.append(subprocess.Popen(command, cwd=ROOT, env=ENVIRON, stderr=subprocess.DEVNULL))
        done = locust(
            *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", "2"),
            *("--host", address, "--users", "20", "--run-time", "4", "--interval", "1", "--tags", "send"),
            *("--out", str(tmp_path), "--accounts", str(tmp_path / "unused.json")),
        )
        for worker in workers:
            worker.wait(PATIENCE)
    result = json.loads((tmp_path / "locust.json").read_text())
    assert_nothing_lost(result)
    assert len(result["generators"]) == 2
    pushes = {figure["name"]: figure["count"] for figure in result["figures"] if figure["method"] == "push"}
    timed = pushes.pop("all pushes")
    assert timed == sum(pushes.values()) > 0
    assert 0 < result["elsewhere"] <= result["audit"]["total"]["delivered"] - timed
    assert "on the sender's own host" in result["clock"]
    assert f"{result['elsewhere']} pushes from other hosts were not timed" in done.stdout


def test_simulated_user_takes_at_most_sixty_kib_of_memory(tmp_path: Path) -> None:
    options = ("--users", "300", "--spawn-rate", "60", "--run-time", "3", "--out", str(tmp_path))
    options += ("--interval", "5", "--room-sizes", "equal", "--receipts", "1", "--tags", "send", "typing")
    with serving("chat_server", "none") as address:
        locust("--host", address, *options, "--accounts", str(tmp_path / "accounts.json"))
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    known = [(line["users"], line["generators"]["local"]["rss"]) for line in samples if line["users"] >= 60]
    (few, before), (all_of_them, after) = known[0], known[-1]
    assert all_of_them - few >= 150
    assert (after - before) / (all_of_them - few) <= 60 * 1024


def test_ramp_is_measured_while_its_users_arrive(tmp_path: Path) -> None:
    options = ("--scenario", "ramp", "--users", "20", "--run-time", "8", "--interval", "1", "--tags", "send")
    with serving("chat_server", "none") as address:
        locust("--host", address, *options, "--accounts", str(tmp_path / "accounts.json"), "--out", str(tmp_path))
    result = json.loads((tmp_path / "locust.json").read_text())
    assert_nothing_lost(result)
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert {line["users"] for line in samples if line["push"]} - {20}, "pushes are timed before all have come"


@pytest.mark.parametrize("scenario", ["direct", "many-to-one", "announcements", "flash-crowd"])
def test_scenario_defines_who_shares_a_room_and_who_writes(scenario: str, tmp_path: Path) -> None:
    seconds = "12" if scenario == "flash-crowd" else "6"  # a user that leaves first finishes its current task
    options = ("--scenario", scenario, "--users", "20", "--run-time", seconds, "--interval", "1")
    with serving("chat_server", "none") as address:
        locust("--host", address, *options, "--accounts", str(tmp_path / "accounts.json"), "--out", str(tmp_path))
    result = json.loads((tmp_path / "locust.json").read_text())
    assert_nothing_lost(result)
    total, rooms = result["audit"]["total"], len(result["audit"]["rows"])
    copies = total["delivered"] / total["sent"]
    if scenario == "direct":
        assert rooms > 5
        assert 1 <= copies <= 2
    else:
        assert rooms == 1
    if scenario == "announcements":
        assert 4 <= total["sent"] <= 8, "one a second, by one user"
        assert copies == 20
    elif scenario == "many-to-one":
        assert total["sent"] > 40
        assert copies > 15
    elif scenario == "flash-crowd":
        samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
        users = [line["users"] for line in samples]
        assert (users[0], max(users)) == (2, 20)
        assert users[-1] < 20


def test_rolling_restart_loses_nothing(tmp_path: Path, postgres_url: str) -> None:
    command = [sys.executable, "-m", "chatsys", "loadtest", "--scenario", "rolling-restart", "--users", "20"]
    command += ["--interval", "1", "--minutes", "0.5", "--tags", "send", "--reports", str(tmp_path)]
    environ = ENVIRON | {"DATABASE_URL": postgres_url}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    (folder,) = tmp_path.iterdir()
    (repetition,) = json.loads((folder / "result.json").read_text())["repetitions"]
    assert repetition["store"] == "postgresql"
    audit = repetition["locust"]["audit"]
    assert audit["incomplete"] == []
    assert {name: audit["total"][name] for name in DEVIATIONS} == dict.fromkeys(DEVIATIONS, 0)
    (back,) = (figure for figure in repetition["locust"]["figures"] if figure["method"] == "reconnect")
    assert back["count"] >= 20, "each user is at one process or the other, and both were replaced"
    assert not [reason for reason in repetition["reasons"] if "restart" in reason or "replaced" in reason], repetition[
        "reasons"
    ]
    assert done.returncode in {0, 2}, done.stdout + done.stderr


def test_command_lists_the_scenarios_and_refuses_a_forgetful_restart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(get_args(ScenarioName)) == list(SCENARIOS)
    documented = (ROOT / "docs/LOADTESTING.md").read_text()
    assert [name for name in SCENARIOS if f"| `{name}` | " not in documented] == []
    with pytest.raises(SystemExit) as ended:
        app(["loadtest", "--scenario", "rolling-restart", "--store", "memory"])
    assert ended.value.code == 2
    assert "--store postgres" in " ".join(capsys.readouterr().err.split())


def test_accounts_are_reused_for_a_server_and_recreated_for_another(tmp_path: Path) -> None:
    options = ("--users", "6", "--run-time", "1", "--interval", "1", "--tags", "send")
    options += ("--accounts", str(tmp_path / "accounts.json"))
    kept = tmp_path / "accounts-0.json"
    with serving("chat_server", "none") as address:
        locust("--host", address, *options)
        first = kept.read_bytes()
        locust("--host", address, *options)
        assert kept.read_bytes() == first
    with serving("chat_server", "none") as address:
        locust("--host", address, *options)
        assert kept.read_bytes() != first


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_ends_a_run_with_its_audit(processes: str, tmp_path: Path) -> None:
    with serving("chat_server", "none") as address:
        command = [sys.executable, "-m", "locust", "-f", "loadtests/chat.py", "--headless", "--host", address]
        command += ["--users", "10", "--spawn-rate", "100", "--interval", "1", "--out", str(tmp_path)]
        command += ["--accounts", str(tmp_path / "accounts.json"), "--tags", "send"]
        command += ["--processes", processes, *free_master_port()]
        child = subprocess.Popen(
            command, cwd=ROOT, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        samples, deadline = tmp_path / "samples.jsonl", time.monotonic() + 60
        while '"push":{' not in (samples.read_text() if samples.exists() else "") and time.monotonic() < deadline:
            time.sleep(0.2)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: the workers get the signal too
        said, _ = child.communicate(timeout=PATIENCE)
    result = json.loads((tmp_path / "locust.json").read_text())
    assert_nothing_lost(result)
    assert len(result["generators"]) == int(processes)
    assert b"Verdict: " in said
    assert b"Traceback" not in said


def test_ctrl_c_in_a_terminal_ends_the_whole_command_with_a_report(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chatsys", "loadtest", "--store", "memory", "--users", "10", "--minutes", "5"]
    command += ["--interval", "1", "--tags", "send", "--reports", str(tmp_path)]
    child = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any('"push":{' in samples.read_text() for samples in tmp_path.glob("*/*/samples.jsonl")):
            break
        time.sleep(0.2)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: every foreground process gets the signal
    said, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130, said
    assert b"Verdict: INTERRUPTED. Report: " in said
    assert b"Traceback" not in said
    (folder,) = tmp_path.iterdir()
    (repetition,) = json.loads((folder / "result.json").read_text())["repetitions"]
    assert_nothing_lost(repetition["locust"])
    assert (folder / "index.html").exists()


@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_run_without_a_server_says_how_to_start_one(processes: tuple[str, ...]) -> None:
    port = free_master_port() if processes else ()
    done = locust("--host", "http://127.0.0.1:9", "--users", "1", *processes, *port, timeout=40)  # the workers end too
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if "Nothing listens" in line]
    assert sentence.startswith("Nothing listens at http://127.0.0.1:9 ")
    assert "start the server with `chatsys serve`" in sentence


def test_host_without_a_scheme_is_refused_in_one_sentence() -> None:
    done = locust("--host", "localhost:3001", "--users", "1")
    assert done.returncode == 1
    assert "localhost:3001 is not an address: give --host http://name:port." in done.stderr
    assert "Traceback" not in done.stderr


def test_server_that_is_not_chatsys_is_named_in_one_line(reference_server: str, tmp_path: Path) -> None:
    done = locust("--host", reference_server, "--users", "2", "--accounts", str(tmp_path / "accounts.json"))
    assert done.returncode == 1
    assert f"is {reference_server} a chatsys server?" in done.stderr
    assert "Traceback" not in done.stderr


def test_impossible_value_is_refused_at_once() -> None:
    done = locust("--interval", "0")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "--interval 0: a user's messages must be more than 0 seconds apart." in done.stderr


def test_taken_port_is_reported_with_a_remedy(reference_server: str) -> None:
    port = reference_server.rpartition(":")[2]
    command = [sys.executable, "-m", "locust", "-f", "loadtests/chat.py", "--host", reference_server]
    page = subprocess.run(
        [*command, "--web-port", port], cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=60, check=False
    )
    assert (page.returncode, "Traceback" in page.stderr) == (1, False)
    assert f"Locust's page can't listen on port {port} " in page.stderr
    assert "give another --web-port" in page.stderr
    master = locust(
        "--processes", "2", "--master-bind-port", port, timeout=60
    )  # the workers, which hold the pipes, end too
    assert (master.returncode, "Traceback" in master.stderr) == (1, False)
    assert "Give another --master-bind-port" in master.stderr


def test_command_tags_are_those_of_the_activities(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(get_args(Tag)) == {activity.tag for activity in ACTIVITIES.values()}
    with pytest.raises(SystemExit) as ended:
        app(["loadtest", "--tags", "send,nosuch"])
    assert ended.value.code == 2
    assert "nosuch is not one of" in capsys.readouterr().err


def test_two_stores_alternate_and_the_worst_verdict_counts() -> None:
    plan = LoadTestPlan(scenario="steady", users=1, store="both", minutes=1)
    assert order_of(plan) == ("memory", "postgresql", "postgresql", "memory")
    assert order_of(msgspec.structs.replace(plan, scenario="capacity")) == ("memory", "postgresql")
    assert verdict_of(["VALID", "VALID"]) == "VALID"
    assert verdict_of(["VALID", "INVALID"]) == "INVALID"
    assert verdict_of(["INVALID", "FAILED", "VALID"]) == "FAILED"
