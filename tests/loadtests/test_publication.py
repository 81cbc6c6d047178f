"""A load test is published with the names of this version, whichever version wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from chatsys.errors import OperatorError
from chatsys.lab.loadtest.record import LoadTestPlan, LoadTestRepetition, LoadTestRun
from chatsys.reports.publishing import publish
from chatsys.reports.records import entries
from chatsys.results.files import write_record
from chatsys.results.upgrades import SCHEMA_VERSION

ROOT = Path(__file__).resolve().parents[2]


def load_test(folder: Path, store: str, own: str) -> Path:
    """Write a load test of one repetition, whose files are in the folder ``own``. Return the file of its record."""
    plan = LoadTestPlan(scenario="steady", users=90, store="postgresql", minutes=1.0)
    figure = {"method": "push", "name": "receive-message talker", "count": 1, "failures": 0, "histogram": [[1.0, 1]]}
    repetition = LoadTestRepetition(
        number=1, store=store, folder=own, verdict="VALID", reasons=[], locust={"figures": [figure]}
    )
    run = LoadTestRun(
        id="load-1", created_at="2026-01-02T00:00:00+00:00", plan=plan, environment={}, verdict="VALID",
        repetitions=[repetition], limitations=[],
    )  # fmt: skip
    write_record(folder / "result.json", run)
    (folder / own).mkdir()
    for name in ("samples.jsonl", "server.jsonl"):
        (folder / own / name).write_text('{"time":1.0,"metrics":{"a":1}}\n')
    return folder / "result.json"


def as_version_1(file: Path) -> None:
    """Rewrite the record as version 1 named its repetitions."""
    record = json.loads(file.read_text()) | {"schema_version": 1}
    record["turns"] = record.pop("repetitions")
    file.write_text(json.dumps(record))


def test_load_test_of_schema_version_1_is_listed_and_published(tmp_path: Path) -> None:
    file = load_test(tmp_path / "runs" / "a", "postgres", "turn-1-postgres")
    as_version_1(file)
    folder = publish(file.parent, tmp_path)
    published = msgspec.json.decode((folder / "result.json").read_bytes(), type=LoadTestRun)
    assert published.schema_version == SCHEMA_VERSION
    assert [each.store for each in published.repetitions] == ["postgresql"]
    assert (folder / "turn-1-postgres" / "server.jsonl").read_text() == '{"time":1.0}\n'
    (entry,) = entries(tmp_path)
    assert (entry.is_published, entry.what) == (True, "steady, 90 users on PostgreSQL")


def test_load_test_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    file = load_test(tmp_path / "runs" / "a", "memory", "repetition-1-memory")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": SCHEMA_VERSION + 1}))
    for read in (lambda: publish(file.parent, tmp_path), lambda: entries(tmp_path)):
        with pytest.raises(OperatorError, match=f"schema_version {SCHEMA_VERSION + 1}"):
            read()


def test_published_load_tests_are_listed() -> None:
    found = [entry.what for entry in entries(ROOT / "reports") if entry.kind == "load test" and entry.is_published]
    assert any(what.startswith("steady, ") and what.endswith("memory and PostgreSQL") for what in found)
