"""A whole run in miniature, on both stores, with the real processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time

import pytest
from typer.testing import CliRunner

from chatsys import interrupts
from chatsys.cli import bench
from chatsys.errors import LabBusy, OperatorError
from chatsys.interrupts import EndedBySignals
from chatsys.lab import record
from chatsys.lab.datasets.databases import alone_on, database_with
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.experiments.common import REFERENCE
from chatsys.lab.experiments.fairness import NAMES as FLOODS
from chatsys.lab.experiments.plans import plans
from chatsys.lab.loadtest import run as loadtest
from chatsys.lab.loadtest.record import LoadTestPlan
from chatsys.lab.loadtest.run import Databases
from chatsys.lab.provenance.machine import MachineWatch
from chatsys.lab.runner import run as running
from chatsys.lab.runner.profiles import PROFILES, Profile
from chatsys.lab.runner.run import RunRequest, run
from chatsys.lab.workloads.floods import HALF_POSTS
from chatsys.lab.workloads.operation import TABLE
from chatsys.results.names import FLOOD
from chatsys.store.address import with_database

TINY = Profile(
    name="tiny",
    users=40,
    messages=300,
    rounds=2,
    repetition=0.0,
    growth=(40, 80, 160),
    growth_rounds=1,
    growth_repetition=0.0,
    senders=(1,),
    members=(2,),
    idle_connections=100,
    stretch=0.1,
    stretches=2,
    upkeep_messages=200,
    upkeep_rounds=2,
    flood=0.4,
)


def request_for(url, tmp_path, **more):
    return RunRequest(profile=TINY, database_url=url, data_dir=tmp_path, **more)


@pytest.fixture
def quiet(monkeypatch):
    """A machine without other load, since these tests are not about the load of other tests."""
    monkeypatch.setattr(MachineWatch, "reasons", lambda _: [])


async def test_run_measures_every_operation_on_both_stores_and_the_baseline(lab_server, tmp_path, quiet):
    result, samples = await run(request_for(lab_server, tmp_path, depths=("store",), only=TABLE), lambda *_: None)
    assert result.valid, result.reasons
    measured = {(each.operation, each.store) for each in result.operations if each.depth == "store"}
    assert measured == {(name, store) for name in TABLE for store in ("memory", "postgresql")}
    assert {(each.operation, each.kind) for each in result.baselines} >= {(name, "asyncpg") for name in TABLE}
    assert all(each.n >= TINY.rounds and each.p50_us > 0 for each in result.operations)
    assert {sample.round for sample in samples} == {0, 1}
    assert result.environment["postgresql"]["version"].startswith("PostgreSQL")
    assert "password" not in str(result.environment["store_url"])


async def test_growth_experiment_fits_an_exponent_and_counts_bytes(lab_server, tmp_path, quiet):
    result, _ = await run(request_for(lab_server, tmp_path, only=("growth",)), lambda *_: None)
    assert result.valid, result.reasons
    assert {fit.store for fit in result.fits} == {"memory", "postgresql"}
    assert all(point.value > 0 for point in result.points if point.subject == "postgresql")
    assert {plan.statement for plan in result.plans} >= {"user_by_id", "history", "search_users"}


async def test_backup_and_restore_give_the_same_tables(lab_server, tmp_path, quiet):
    result, _ = await run(request_for(lab_server, tmp_path, only=("backup",)), lambda *_: None)
    counts = {count.metric: count.value for count in result.counts}
    assert counts["tables compared"] >= 8
    assert counts["tables that differ"] == 0


async def test_realtime_is_measured_in_rounds_and_judged_by_its_targets(lab_server, tmp_path, quiet):
    parts = ("idle", "fanout", "senders", "arrivals", "receipts")
    result, samples = await run(request_for(lab_server, tmp_path, only=parts), lambda *_: None)
    assert not [reason for reason in result.reasons if "load generator" not in reason]
    measured = {(point.experiment, point.subject) for point in result.points}
    assert measured >= {(part, store) for part in parts for store in ("memory", "postgresql")}
    assert {("fanout", REFERENCE), ("idle", REFERENCE)} <= measured
    assert all(len(point.rounds) == 2 for point in result.points if point.experiment in ("fanout", "senders"))
    used = {(p.subject, p.metric): p.value for p in result.points if p.metric.endswith(" CPU")}
    assert used["postgresql", "database CPU"] > used["memory", "database CPU"] >= 0
    assert all(used[store, f"{who} CPU"] > 0 for store in ("memory", "postgresql") for who in ("server", "generator"))
    assert {sample.operation for sample in samples if sample.experiment == "arrivals"} == {"response", "service"}
    fan = [each for each in result.targets if each.what.startswith("Fan-out")]
    assert len(fan) == 2
    assert all(each.bound == 3.5 and each.interval is not None and each.verdict for each in fan)
    assert {timing.what for timing in result.timings} >= {f"realtime: {part}" for part in parts}


async def test_every_flood_is_measured_and_disconnects_no_other_client(lab_server, tmp_path, quiet):
    request = request_for(lab_server, tmp_path, only=("fairness_floods",), stores=("memory",))
    result, samples = await run(request, lambda *_: None)
    assert not [reason for reason in result.reasons if "load generator" not in reason]
    assert {(sample.operation, sample.size) for sample in samples} == {(name, x) for name in FLOODS for x in (0, 1)}
    known = {(p.subject, p.x, p.metric): p.value for p in result.points if p.experiment == FLOOD}
    for name in FLOODS:
        assert known[name, 1, "others disconnected"] == 0
        assert known[name, 1, "sent"] > 0
        assert known[name, 1, "connections of the flood"] >= 1
        assert known[name, 1, "memory growth"] >= 0
        assert all(known[name, x, metric] > 0 for x in (0, 1) for metric in ("p50", "p99", "max"))
    assert known["malformed packets", 1, "connections of the flood"] > 1
    assert 1 <= known[HALF_POSTS, 1, "connections of the flood"] <= 200


async def test_upkeep_is_measured_as_a_ratio_to_the_bare_statement(lab_server, tmp_path, quiet):
    result, _ = await run(request_for(lab_server, tmp_path, only=("upkeep",)), lambda *_: None)
    assert result.valid, result.reasons
    assert [each.what.split()[0] for each in result.targets] == ["Import", "Adoption", "Clean-up"]
    assert all(each.ratio > 0 and each.interval is not None for each in result.targets)


async def test_runs_with_one_and_two_workers_alternate(lab_server, tmp_path, quiet):
    result, _ = await run(request_for(lab_server, tmp_path, only=("workers",)), lambda *_: None)
    assert {point.subject for point in result.points} == {"one worker", "two workers"}
    assert any("Two workers share" in sentence for sentence in result.limitations)


async def test_interrupted_run_keeps_complete_rounds_and_is_partial(lab_server, tmp_path, quiet):
    def interrupt(text, done, _):
        if done and text == "table: round 2 of 2":
            task.cancel()

    request = request_for(lab_server, tmp_path, depths=("store",), only=TABLE)
    task = asyncio.create_task(run(request, interrupt))
    result, samples = await task
    assert result.partial
    assert {sample.round for sample in samples} == {0}
    assert {(one.operation, one.store) for one in result.operations} >= {
        (name, store) for name in TABLE for store in ("memory", "postgresql")
    }
    assert {each.operation for each in result.baselines} >= set(TABLE)


async def test_busy_machine_makes_the_run_invalid(lab_server, tmp_path, monkeypatch):
    monkeypatch.setattr(MachineWatch, "reasons", lambda _: ["other programs used the processors"])
    request = request_for(lab_server, tmp_path, depths=("store",), only=("find_user_by_id",), stores=("memory",))
    result, _ = await run(request, lambda *_: None)
    assert not result.valid
    assert result.reasons == ["other programs used the processors"]


async def test_unknown_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(OperatorError, match="nonsense, the value of --only"):
        await run(request_for(None, tmp_path, only=("nonsense",)), lambda *_: None)


@pytest.mark.parametrize(
    ("valid", "partial", "status"), [(True, False, 0), (False, False, 2), (True, True, 130), (False, True, 130)]
)
def test_exit_status_says_whether_the_run_is_valid(result, samples, tmp_path, monkeypatch, valid, partial, status):
    async def made(*_):
        result.valid, result.partial = valid, partial
        return result, samples

    monkeypatch.setattr(running, "run", made)
    done = CliRunner().invoke(bench.app, ["--profile", "quick", "--out", str(tmp_path / "out")])
    assert done.exit_code == status
    assert record.load(tmp_path / "out").id == result.id
    assert (tmp_path / "out" / "index.html").exists()


@pytest.fixture
def handlers():
    """Restore the signal handlers that the block changes."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_duplicate_signal_cancels_a_run_once_and_a_later_one_ends_it(handlers, number, monkeypatch):
    monkeypatch.setattr(interrupts, "BURST", 0.2)

    async def work(again: bool) -> str:
        try:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            if again:
                await asyncio.sleep(0.25)
                os.kill(os.getpid(), number)
            await asyncio.sleep(0)
        return "written"

    before = signal.getsignal(number)
    time.sleep(0.25)  # after the handlers of another test
    with EndedBySignals() as ending:
        assert asyncio.run(ending.run(work(again=False))) == "written"
        os.kill(os.getpid(), number)  # while the report is written
        time.sleep(0.25)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    time.sleep(0.25)
    with EndedBySignals() as ending, pytest.raises(KeyboardInterrupt):
        asyncio.run(ending.run(work(again=True)))


def test_production_statements_use_their_indexes(lab_server):
    """At 20,000 users and messages a full scan is never the cheaper plan; a few rooms fit on one page."""
    rows = Synthetic(20_000, 20_000, 1)
    url = database_with(lab_server, "chatsys_lab_test_plans", rows, lambda _: None)
    found = plans(url, rows)
    whole = re.compile(r"Seq Scan on (users|messages|message_reads|message_deliveries)\b")
    assert [(plan.statement, line) for plan in found for line in plan.lines if whole.search(line)] == []


def test_profiles_measure_growth_over_powers_of_ten():
    for profile in PROFILES.values():
        assert all(b == 10 * a for a, b in zip(profile.growth, profile.growth[1:], strict=False))
    assert len(PROFILES["standard"].growth) >= 4
    assert (PROFILES["full"].users, PROFILES["full"].messages) == (1_000_000, 5_000_000)


async def test_second_run_on_the_same_server_is_refused_in_one_sentence(lab_server, tmp_path):
    """This also holds if its URL names another database of the server."""
    other = with_database(lab_server, "template1")
    with alone_on(lab_server):
        with pytest.raises(LabBusy, match="Another run is measuring") as refused:
            await run(request_for(other, tmp_path, only=("backup",)), lambda *_: None)
        assert refused.value.code == "lab_busy"
        plan = LoadTestPlan(scenario="steady", users=1, store="postgresql", minutes=0.1)
        with pytest.raises(LabBusy):
            loadtest.run(plan, tmp_path, Databases(other, tmp_path), lambda _: None)
    with alone_on(other):
        pass
