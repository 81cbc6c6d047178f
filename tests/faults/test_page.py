"""The result of a run, and its page: broken promises come first, and a fault that did not run is not a kept promise."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from chatsys.errors import OperatorError
from chatsys.lab.faults import catalogue, fault, page, record, running
from chatsys.lab.faults.record import FaultKind, FaultRun, FaultsResult, Injection
from chatsys.lab.faults.site import SiteKind
from chatsys.results.history import Deviation


def run(**changed: object) -> FaultRun:
    """A run of one injection in which all promises were kept, except for what ``changed`` replaces."""
    usual = {
        "seed": 1,
        "seconds": 1.0,
        "load": 0.5,
        "thrown_out": 0,
        "recovery": 0.5,
        "slowest_answer": 0.1,
        "others_calm": record.histogram([2.0] * 100),
        "others": record.histogram([3.0] * 100),
    }
    own = {name: changed.pop(name) for name in ("findings", "broken") if name in changed}
    injection = Injection(**(usual | changed))  # type: ignore[arg-type]
    return FaultRun(messages=100, acknowledged=100, injections=[injection], **own)  # type: ignore[arg-type]


def kind(name: str, *runs: FaultRun, concerns: str = "one room", not_run: str = "") -> FaultKind:
    return FaultKind(name=name, concerns=concerns, promise="All is well.", runs=list(runs), not_run=not_run)


def result(*kinds: FaultKind) -> FaultsResult:
    return FaultsResult(created_at="2026-01-01", profile="quick", seed=1, environment={"cpus": 2}, kinds=list(kinds))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"findings": [Deviation("not_stored", 2, [])]}, "2 not stored"),
        ({"thrown_out": 3}, "3 connections to a running server lost"),
        ({"recovery": None}, "service did not come back in 1 of 2 injections"),
        ({"recovery": 6.0}, "service was back only after up to 6.0 s in 1 of 2 injections"),
        ({"others": record.histogram([40.0] * 200)}, "others' p99 41 ms, up from 2 ms"),
        ({"broken": "nothing could be lost"}, "nothing could be lost"),
    ],
)
def test_broken_promise_is_shown(changed: dict[str, object], text: str) -> None:
    assert page.shortcomings(kind("a fault", run())) == []
    assert page.shortcomings(kind("a fault", run(), run(**changed))) == [text]


def test_slow_p99_of_clients_that_the_fault_concerns_breaks_no_promise() -> None:
    slow = run(others=record.histogram([40.0] * 100), slowest_answer=4.9)
    assert page.shortcomings(kind("a fault", slow, concerns="the database")) == []


def test_p99_of_several_histograms_is_that_of_all_their_values() -> None:
    parts = [record.histogram(range(1, 500)), record.histogram(range(500, 1001))]
    assert record.p99(parts) == pytest.approx(990, rel=0.05)
    assert record.p99([]) == 0


def test_answer_that_waits_too_long_for_the_database_is_shown() -> None:
    late = kind("a fault", run(slowest_answer=9.0), concerns="the database")
    assert page.shortcomings(late) == ["a message was answered only after 9.0 s"]


def test_broken_promises_come_first_and_skipped_faults_are_listed_apart() -> None:
    text = page.markdown(
        result(kind("good", run()), kind("bad", run(thrown_out=1)), kind("skipped", not_run="needs root"))
    )
    broken, kept, not_run = (text.index(title) for title in ("## Broken promises", "## Kept promises", "## Not run"))
    assert broken < text.index("| bad |") < kept < text.index("| good |") < not_run
    assert not_run < text.index("| skipped | needs root |")
    assert page.fell_short(result(kind("bad", run(thrown_out=1))))
    assert not page.fell_short(result(kind("skipped", not_run="needs root")))


def test_malformed_input_that_did_harm_is_shown() -> None:
    made = result()
    made.fuzzing = [record.Fuzzed(kind="HTTP", cases=9, errors=0, tracebacks=0, growth_mib=1.0, sentinel_ms=20.0)]
    assert not page.fell_short(made)
    made.fuzzing[0].tracebacks = 1
    assert page.fell_short(made)
    made.fuzzing.append(msgspec.structs.replace(made.fuzzing[0], kind="packets", tracebacks=0, commit="0123456789ab"))
    text = page.markdown(made)
    titles = ("## Broken promises", "## Kept promises", "## Malformed input")
    broken, kept, passed = (text.index(title) for title in titles)
    assert broken < text.index("| HTTP |") < kept < passed < text.index("| packets, commit `0123456789ab` |")


def test_interrupted_run_continues_where_it_stopped(tmp_path: Path) -> None:
    (first,) = catalogue.chosen("all connections to the database reset")
    profile = running.PROFILES["quick"]
    made = result(kind(first.name, run()))
    record.save(made, tmp_path)
    again = record.load(tmp_path)
    assert again == made
    assert running.missing(made, profile, first) == [range(1, 3)]


async def test_each_injection_runs_once_alone_or_beside_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites: list[SiteKind] = []
    most = {True: 0, False: 0}
    done: dict[str, list[int]] = {}

    class FakeSite:
        def __init__(self, kind: SiteKind) -> None:
            self.kind = kind

        async def __aenter__(self) -> FakeSite:
            sites.append(self.kind)
            return self

        async def __aexit__(self, *_: object) -> None:
            sites.remove(self.kind)

    async def inject(site: FakeSite, what: fault.Fault, seeds: list[int], _load: object) -> FaultRun:
        assert site.kind is what.site_kind
        most[what.alone] = max(most[what.alone], len(sites))
        await asyncio.sleep(0)
        done.setdefault(what.name, []).extend(seeds)
        return run(seed=seeds[0])

    monkeypatch.setattr(running, "Site", FakeSite)
    monkeypatch.setattr(running, "inject", inject)
    monkeypatch.setattr(running, "describe", lambda *_: {})
    monkeypatch.setattr(fault, "_available", lambda _need: True)
    made = await running.run(running.PROFILES["quick"], catalogue.chosen(), 1, tmp_path, lambda _text: None)
    assert most == {True: 1, False: record.CONCURRENT_SITES}
    assert {name: sorted(seeds) for name, seeds in done.items()} == {
        each.name: [1_000, 1_001, 1_002] if each.seconds <= running.LONG_SECONDS else [1_000]
        for each in catalogue.chosen()
    }
    assert {each.name for each in made.kinds if each.runs} == done.keys()


def test_fault_is_not_run_if_the_machine_lacks_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault, "_available", lambda _need: False)
    (dropped,) = catalogue.chosen("packets dropped for 5 s")
    made = result()
    assert running.missing(made, running.PROFILES["quick"], dropped) == []
    assert made.kinds[0].not_run == "needs root, iptables"


def test_result_of_another_version_is_refused(tmp_path: Path) -> None:
    made = result()
    made.schema_version = 99
    record.save(made, tmp_path)
    with pytest.raises(OperatorError, match="schema_version 99"):
        record.load(tmp_path)


def test_each_fault_has_a_promise_and_a_description() -> None:
    faults = catalogue.chosen()
    assert len(faults) > 40
    assert all(each.promise.endswith(".") and each.inject.__doc__ for each in faults)
    with pytest.raises(OperatorError, match="nothing like this"):
        catalogue.chosen("nothing like this")
