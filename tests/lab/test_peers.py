"""Other Socket.IO servers beside chatsys: the alternation, the record, and how the report states who is behind."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import msgspec
import pytest

from chatsys.errors import OperatorError
from chatsys.lab import peers as others
from chatsys.lab import record
from chatsys.lab.experiments import peers
from chatsys.lab.report import peers as report
from chatsys.lab.runner.profiles import PROFILES
from chatsys.lab.runner.run import RunRequest, run
from chatsys.reports import publishing
from chatsys.reports.bench import page
from chatsys.reports.records import COMPARISON, benchmarks, entries
from chatsys.results.run import Point, Result


def result_of(*figures: tuple[str, str, int, float]) -> Result:
    """Return a record of (subject, metric, x, value)."""
    made = Result(id="1", created_at="2026", profile="standard", seed=1, environment={}, parameters={})
    made.points = [
        Point(experiment="peers", subject=subject, x=x, metric=metric, value=value, unit="")
        for subject, metric, x, value in figures
    ]
    return made


NODE, UWS = (peer.name for peer in others.PEERS[:2])


def test_report_says_where_chatsys_is_behind_the_best_peer() -> None:
    result = result_of(
        ("chatsys", peers.RATE, 10, 100_000.0), (NODE, peers.RATE, 10, 50_000.0), (UWS, peers.RATE, 10, 150_000.0),
        ("chatsys", peers.CPU, 10, 1.5), (NODE, peers.CPU, 10, 12.0), (UWS, peers.CPU, 10, 3.0),
        ("chatsys", peers.ECHO, 1, 101.0), (UWS, peers.ECHO, 1, 100.0),
        (others.PLAIN, peers.CPU, 10, 1.25),
    )  # fmt: skip
    said = report.answers(result)
    assert f"Deliveries a second with 10 members: **chatsys is behind**: {UWS} is 1.5 times as good." in said
    assert (
        f"Processor time of a delivery with 10 members: chatsys is 2.0 times as good as the best peer, {UWS}." in said
    )
    assert f"Time of an echo: chatsys equals the best peer, {UWS}." in said
    assert any("takes 1.20 times the processor time of a plain loop of send" in sentence for sentence in said)
    rates, costs, rest = report.tables(result)
    assert rates.rows == [("10", "100", "50", "150", "")]
    assert costs.rows == [("10", "1.5", "12.0", "3.0", "1.2")]
    assert rest.rows[0][1:] == ("101", "", "100", "")


def test_run_without_peers_does_not_mention_them() -> None:
    assert (report.answers(result_of()), report.tables(result_of()), report.parts(result_of())) == ([], [], [])


def test_peer_comparison_is_published_separately_from_the_benchmark(tmp_path: Path) -> None:
    run_folder, reports = tmp_path / "runs" / "one", tmp_path
    result = result_of(("chatsys", peers.RATE, 10, 100_000.0), (NODE, peers.RATE, 10, 50_000.0))
    record.save(result, [], run_folder)
    page(result, [], peers=report.parts(result)).write(run_folder)
    assert publishing.publish(run_folder, reports) == tmp_path / "peers"
    assert "2.0 times as good" in (tmp_path / "peers" / "report.md").read_text()
    assert [(entry.kind, entry.is_published) for entry in entries(reports)] == [(COMPARISON, True)]
    assert benchmarks(reports) == []


def test_peer_versions_are_pinned_and_programs_are_javascript() -> None:
    wanted = msgspec.json.decode((others.HERE / "package.json").read_bytes())["dependencies"]
    assert all(version[0].isdigit() for version in wanted.values())
    assert {path.name for path in others.HERE.glob("*.mjs")} < set(others.PROGRAMS)


@pytest.mark.process
def test_peer_programs_are_valid_javascript() -> None:
    for name in others.PROGRAMS[1:]:
        subprocess.run(["node", "--check", str(others.HERE / name)], check=True)


def test_without_node_the_command_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperatorError, match=r"Node\.js") as refused:
        others.installed(tmp_path / "peers")
    assert refused.value.hint


@pytest.mark.process
async def test_run_measures_the_servers_alternately(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This uses only the plain loop, which needs no Node.js."""
    monkeypatch.setattr(peers, "PEERS", others.PEERS[-1:])
    monkeypatch.setattr(peers, "installed", lambda _: {"node": "none"})
    monkeypatch.setattr(peers, "_SECONDS", 0.2)
    profile = msgspec.structs.replace(PROFILES["quick"], peer_members=(1, 20), peer_idle=50, stretches=2)
    request = RunRequest(
        profile=profile, database_url="memory://", data_dir=tmp_path, seed=1, only=("peers",), stores=("memory",),
        depths=("socket",),
    )  # fmt: skip
    async with asyncio.timeout(120):
        result, samples = await run(request, lambda *_: None)
    measured = {(point.subject, point.metric, int(point.x)) for point in result.points}
    for subject in (peers.OURS, others.PLAIN):
        for members in (1, 20):
            assert {(subject, peers.RATE, members), (subject, peers.CPU, members)} <= measured
        assert {(subject, peers.ECHO, 1), (subject, peers.IDLE, 50)} <= measured
    assert result.environment["peers"] == {"node": "none"}
    assert samples
    assert not [reason for reason in result.reasons if "messages" in reason]
