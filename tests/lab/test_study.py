"""The study of how often a comparison is wrong: what it runs next, what it counts, where it publishes."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from chatsys.engine.scheduler import FairScheduler
from chatsys.errors import OperatorError
from chatsys.lab.against import planted, study
from chatsys.lab.against.study import SAME, WANTED, StudyOutcome, next_place, publish, read, run_one, table
from chatsys.realtime.sequence import Sequence
from chatsys.store.memory import MemoryStore
from chatsys.store.postgres.store import PostgresStore
from tests.lab.test_against import result_of, rounds_of


def made(place: str = SAME, slower: tuple[str, ...] = (), **more) -> StudyOutcome:
    known = {
        "planted": place,
        "factor": 1.3,
        "created_at": "2026-01-01T00:00:00.000Z",
        "commit": "0" * 40,
        "method": 1,
        "profile": "quick",
        "valid": True,
        "reasons": [],
        "rounds": 8,
        "seconds": 100.0,
        "slower": list(slower),
        "faster": [],
        "largest_finds": 1.1,
        "foreign": 0.0,
    }
    return StudyOutcome(**(known | more))


def test_slowed_functions_exist(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PLANTED_SLOWDOWN", raising=False)
    places = runpy.run_path(str(Path(planted.__file__).with_name("sitecustomize.py")))["PLACES"]
    classes = [MemoryStore, PostgresStore, FairScheduler, Sequence]
    assert {name for methods in places.values() for name in methods} == {each.__name__ for each in classes}
    for methods in places.values():
        for each in classes:
            assert all(name in vars(each) for name in methods.get(each.__name__, ()))


def test_place_with_the_fewest_runs_is_next_until_all_are_done():
    outcomes: list[StudyOutcome] = []
    places = []
    while (place := next_place(outcomes, same=4, each=2)) is not None:
        places.append(place)
        outcomes.append(made(place))
    assert sorted(places) == sorted([SAME] * 4 + [*WANTED] * 2)
    assert set(places[:4]) == {SAME, *WANTED}


def test_invalid_run_is_repeated_and_counted_separately():
    assert next_place([made(valid=False)], same=1, each=0) == SAME
    assert table([made(valid=False), made()]).rows[0] == (SAME, "1", "reported a difference: 0", "0% to 98%", "1")


def test_slowdown_counts_as_found_only_for_the_right_operations():
    assert made("store read", WANTED["store read"]).found()
    assert not made("store read", WANTED["store read"][:1]).found()
    assert not made("fan-out", WANTED["store read"]).found()


def test_difference_between_equal_sides_counts_in_either_direction():
    rows = table([made(), made(slower=("memory: send",)), made(faster=["memory: send"])]).rows
    assert rows[0][:3] == (SAME, "3", "reported a difference: 2")


def test_counts_are_written_between_the_markers_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{study.BLOCK[0]}\nold\n{study.BLOCK[1]}\nafter\n")
    publish(page, [made()])
    assert "old" not in page.read_text()
    assert page.read_text().startswith(f"before\n{study.BLOCK[0]}\n| Planted")
    assert page.read_text().endswith(f"{study.BLOCK[1]}\nafter\n")
    page.write_text("nothing")
    with pytest.raises(OperatorError, match="no block"):
        publish(page, [])


@pytest.mark.parametrize(("place", "variables"), [(SAME, {}), ("fan-out", {"PLANTED_SLOWDOWN": "fan-out:1.3"})])
def test_run_is_appended_to_the_earlier_ones(monkeypatch, tmp_path, place, variables):
    requests = []

    def compare(request, _):
        requests.append(request)
        result = result_of(rounds_of(send=2))
        result.after = result.before
        result.parameters["method"] = 1
        return result

    monkeypatch.setattr(study, "compare", compare)
    run_one(tmp_path, place)
    run_one(tmp_path, place)
    assert [each.slower for each in read(tmp_path)] == [["PostgreSQL: send x64"]] * 2
    assert requests[0].variables == variables
    assert (requests[0].planted is None) == (place == SAME)


PROBE = """
import asyncio, time
class FairScheduler:
    def _write_slice(self):
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until: pass
class MemoryStore:
    async def history(self):
        await asyncio.sleep(0.05)
async def many():
    await asyncio.gather(*(MemoryStore().history() for _ in range(20)))
began = time.perf_counter(); FairScheduler()._write_slice(); print(time.perf_counter() - began)
began = time.perf_counter(); asyncio.run(many()); print(time.perf_counter() - began)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("planted_at", "least"), [("", (0.02, 0.05)), ("fan-out:3", (0.06, 0.05)), ("store read:3", (0.02, 0.14))]
)
def test_planted_slowdown_adds_its_share_once_for_concurrent_calls(planted_at, least):
    path = str(Path(planted.__file__).parent)
    environment = {"PYTHONPATH": path, "PLANTED_SLOWDOWN": planted_at}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    took = [float(line) for line in done.stdout.split()]
    assert all(found >= wanted for found, wanted in zip(took, least, strict=True))
    assert took[1] < 5  # a share for each of the twenty would add two seconds; a share of their waiting, years
