"""The result of a run and the page made from it: what fell short stands first, and what did not run is never passed."""

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
    """A run of one injection in which all that was promised was seen."""
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
    ("changed", "said"),
    [
        ({"findings": [Deviation("not_stored", 2, [])]}, "2 not stored"),
        ({"thrown_out": 3}, "3 thrown out of a living server"),
        ({"recovery": None}, "service did not come back in 1"),
        ({"recovery": 6.0}, "1 times back only after up to 6.0 s"),
        ({"others": record.histogram([40.0] * 200)}, "others' p99 41 ms against 2 ms"),
        ({"broken": "nothing could be lost"}, "nothing could be lost"),
    ],
)
def test_each_shortcoming_is_said(changed: dict[str, object], said: str) -> None:
    assert page.shortcomings(kind("a fault", run())) == []
    assert page.shortcomings(kind("a fault", run(), run(**changed))) == [said]


def test_a_slow_p99_of_those_whom_a_fault_concerns_is_no_shortcoming() -> None:
    slow = run(others=record.histogram([40.0] * 100), slowest_answer=4.9)
    assert page.shortcomings(kind("a fault", slow, concerns="the database")) == []


def test_the_p99_of_several_histograms_is_that_of_all_their_values() -> None:
    parts = [record.histogram(range(1, 500)), record.histogram(range(500, 1001))]
    assert record.p99(parts) == pytest.approx(990, rel=0.05)
    assert record.p99([]) == 0


def test_an_answer_that_waits_too_long_for_the_database_is_said() -> None:
    late = kind("a fault", run(slowest_answer=9.0), concerns="the database")
    assert page.shortcomings(late) == ["a message was answered only after 9.0 s"]


def test_what_fell_short_comes_first_and_what_did_not_run_was_not_kept() -> None:
    text = page.markdown(
        result(kind("good", run()), kind("bad", run(thrown_out=1)), kind("skipped", not_run="needs root"))
    )
    short, kept, not_run = (text.index(title) for title in ("## What fell short", "## What was kept", "## Not run"))
    assert (
        short < text.index("| bad |") < kept < text.index("| good |") < not_run < text.index("| skipped | needs root |")
    )
    assert page.fell_short(result(kind("bad", run(thrown_out=1))))
    assert not page.fell_short(result(kind("skipped", not_run="needs root")))


def test_nonsense_that_was_not_withstood_is_said() -> None:
    made = result()
    made.fuzzing = [record.Fuzzed(kind="HTTP", cases=9, errors=0, tracebacks=0, growth_mib=1.0, sentinel_ms=20.0)]
    assert not page.fell_short(made)
    made.fuzzing[0].tracebacks = 1
    assert page.fell_short(made)
    made.fuzzing.append(msgspec.structs.replace(made.fuzzing[0], kind="packets", tracebacks=0, commit="0123456789ab"))
    text = page.markdown(made)
    short, kept, nonsense = (text.index(title) for title in ("## What fell short", "## What was kept", "## Nonsense"))
    assert short < text.index("| HTTP |") < kept < nonsense < text.index("| packets, commit `0123456789ab` |")


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    (first,) = catalogue.chosen("all connections to the database reset")
    profile = running.PROFILES["quick"]
    made = result(kind(first.name, run()))
    record.save(made, tmp_path)
    again = record.load(tmp_path)
    assert again == made
    assert running.missing(made, profile, first) == [range(1, 3)]


async def test_every_run_is_done_once_beside_others_or_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites: list[SiteKind] = []
    most = {True: 0, False: 0}
    done: dict[str, list[int]] = {}

    class FakeSite:
        def __init__(self, place: SiteKind) -> None:
            self.place = place

        async def __aenter__(self) -> FakeSite:
            sites.append(self.place)
            return self

        async def __aexit__(self, *_: object) -> None:
            sites.remove(self.place)

    async def inject(site: FakeSite, what: fault.Fault, seeds: list[int], _load: object) -> FaultRun:
        assert site.place is what.place
        most[what.alone] = max(most[what.alone], len(sites))
        await asyncio.sleep(0)
        done.setdefault(what.name, []).extend(seeds)
        return run(seed=seeds[0])

    monkeypatch.setattr(running, "Site", FakeSite)
    monkeypatch.setattr(running, "inject", inject)
    monkeypatch.setattr(running, "describe", lambda *_: {})
    monkeypatch.setattr(fault, "_there", lambda _need: True)
    made = await running.run(running.PROFILES["quick"], catalogue.chosen(), 1, tmp_path, lambda _said: None)
    assert most == {True: 1, False: record.AT_ONCE}
    assert {name: sorted(seeds) for name, seeds in done.items()} == {
        each.name: [1_000, 1_001, 1_002] if each.seconds <= running.LONG_SECONDS else [1_000]
        for each in catalogue.chosen()
    }
    assert {each.name for each in made.kinds if each.runs} == done.keys()


def test_a_fault_that_lacks_what_it_needs_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault, "_there", lambda _need: False)
    (dropped,) = catalogue.chosen("packets dropped for 5 s")
    made = result()
    assert running.missing(made, running.PROFILES["quick"], dropped) == []
    assert made.kinds[0].not_run == "needs root, iptables"


def test_another_version_s_result_is_refused(tmp_path: Path) -> None:
    made = result()
    made.schema_version = 99
    record.save(made, tmp_path)
    with pytest.raises(OperatorError, match="schema_version 99"):
        record.load(tmp_path)


def test_faults_have_names_promises_and_places_in_the_table() -> None:
    faults = catalogue.chosen()
    assert len(faults) > 40
    assert all(each.promise.endswith(".") and each.inject.__doc__ for each in faults)
    with pytest.raises(OperatorError, match="nothing like this"):
        catalogue.chosen("nothing like this")
