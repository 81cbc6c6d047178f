"""What frames, pictures, answers and pages say of easily misread runs: every word follows from the record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import msgspec
import pytest

from chatsys.analytics import answers, plots, runs
from chatsys.lab.loadtest.record import LoadTestRun
from chatsys.lab.report.load import capacity_of, title_of
from chatsys.reports.page import Page
from chatsys.results.capacity import DATABASE, FAILED, HELD, LATENCY, MACHINE, NOT_MEASURABLE, SERVER, resource

STEP = {"pushes": 9, "push_p99": 12.0, "failures": 0, "deviations": 0}


@pytest.fixture(autouse=True)
def pictures() -> Iterator[None]:
    """Close every figure after the test."""
    yield
    plt.close("all")


def search(folder: Path, *steps: dict[str, Any]) -> runs.Run:
    """The folder of a search for the capacity of at most 8,000 users, given its steps in order."""
    repetition = {"number": 1, "store": "memory", "folder": "repetition-1-memory", "verdict": "VALID", "reasons": [],
                  "locust": {"steps": [STEP | step for step in steps]}}  # fmt: skip
    plan = {"scenario": "capacity", "users": 8000, "store": "memory", "minutes": 1.0, "objective": 200.0}
    record = {"schema_version": 2, "id": "load-1", "created_at": "2026-01-02T03:04:05+00:00", "verdict": "VALID",
              "plan": plan, "environment": {}, "repetitions": [repetition], "limitations": []}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(record))
    return runs.load_run(folder)


OLD = ({"users": 1000, "saturated": False, "holds": True}, {"users": 2000, "saturated": True, "holds": False})
NEW = (
    {"users": 1000, "outcome": HELD, "limit": ""},
    {"users": 2000, "outcome": NOT_MEASURABLE, "limit": "the load generator's processor"},
)


@pytest.mark.parametrize("steps", [OLD, NEW], ids=["two flags", "an outcome"])
def test_saturated_generator_gives_no_statement_about_the_server(steps: tuple[Any, ...], tmp_path: Path) -> None:
    run = search(tmp_path, *steps)
    frame = runs.capacity(run)
    assert frame["outcome"].to_list() == [HELD, NOT_MEASURABLE]
    said = " ".join([answers._searched(run)[0], *answers._searched(run)[1]])
    assert "memory: at least 1,000 users" in said
    assert "at 2,000 the load generator's processor ran out first" in said
    axes = plots.capacity(frame, objective_ms=200)
    shown = " ".join((axes.get_title(loc="left"), axes.get_xlabel()))
    assert "memory: at least 1,000 users" in shown
    assert "a ring: not measurable" in shown
    record = msgspec.convert(run.record, LoadTestRun)
    page = Page(title=title_of(record))
    page.add("Capacity", *capacity_of(record.repetitions, 200))
    for words in (said, shown, page.markdown()):
        assert "did not hold" not in words
        assert "does not hold" not in words
        assert "8,000" not in words
    assert page.title == "Load test: capacity, memory at least 1,000 users"


def test_failed_step_bounds_the_capacity_and_names_the_exhausted_resource(tmp_path: Path) -> None:
    run = search(tmp_path, NEW[0], {"users": 1500, "outcome": FAILED, "limit": SERVER, "push_p99": 300.0})
    said = " ".join([answers._searched(run)[0], *answers._searched(run)[1]])
    assert "memory: 1,000 users" in said
    assert "the objective failed at 1,500; the server's processor ran out first" in said
    assert "at least" not in said


def test_search_without_a_successful_step_gives_no_number(tmp_path: Path) -> None:
    assert "no number" in answers._searched(search(tmp_path / "a", NEW[1]))[0]
    failed = {"users": 500, "saturated": False, "holds": False, "push_p99": 900.0}
    assert "fewer than 500 users" in answers._searched(search(tmp_path / "b", failed))[0]


@pytest.mark.parametrize(
    ("server", "database", "generators", "first"),
    [(0.95, 0.2, 0.5, SERVER), (0.5, 1.9, 0.1, DATABASE), (0.6, 0.6, 0.7, MACHINE), (0.3, 0.1, 0.2, LATENCY)],
)
def test_first_exhausted_resource_is_named(server: float, database: float, generators: float, first: str) -> None:
    assert resource(server=server, database=database, generators=generators, cpus=2) == first
