"""The record of a run on disk."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from chatsys.cli.bench import app
from chatsys.errors import OperatorError
from chatsys.lab import record
from chatsys.results.files import write_atomically
from chatsys.results.run import Timing


def test_record_is_loaded_as_it_was_saved(result, samples, tmp_path):
    record.save(result, samples, tmp_path)
    assert record.load(tmp_path) == result
    again = record.load_samples(tmp_path)
    assert [(t.operation, t.subject, t.round) for t in again] == [(t.operation, t.subject, t.round) for t in samples]
    np.testing.assert_allclose(again[3].microseconds, samples[3].microseconds, rtol=1e-6)


def test_record_of_schema_version_1_is_read_with_the_present_names(result, samples, tmp_path):
    result.parameters |= {"repetition": 0.09, "growth_repetition": 0.06, "rounds": 4}
    result.timings.append(Timing(what="endpoints: servers filled", seconds=1.0))
    record.save(result, samples, tmp_path)
    older = msgspec.json.decode((tmp_path / "result.json").read_bytes()) | {
        "schema_version": 1,
        "parameters": {"turn": 0.09, "growth_turn": 0.06, "rounds": 4},
        "timings": [{"what": "doors: servers filled", "seconds": 1.0}],
    }
    older |= {"floors": older.pop("baselines"), "marks": older.pop("targets")}
    (tmp_path / "result.json").write_bytes(msgspec.json.encode(older))
    assert record.load(tmp_path) == result


def test_samples_with_the_old_column_are_read(samples, result, tmp_path):
    record.save(result, samples, tmp_path)
    table = pq.read_table(tmp_path / "samples.parquet")
    names = ["contestant" if name == "subject" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), tmp_path / "samples.parquet")
    assert {each.subject for each in record.load_samples(tmp_path)} == {each.subject for each in samples}


@pytest.mark.parametrize("damaged", [{"parameters": 1}, {"timings": 1}, {"timings": [1]}, {"floors": 1}])
def test_damaged_record_of_schema_version_1_is_refused_in_words(damaged, result, samples, tmp_path):
    record.save(result, samples, tmp_path)
    written = msgspec.json.decode((tmp_path / "result.json").read_bytes()) | {"schema_version": 1}
    (tmp_path / "result.json").write_bytes(msgspec.json.encode({**written, **damaged}))
    with pytest.raises(OperatorError, match="not the record of a benchmark run"):
        record.load(tmp_path)


def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_run_is_explained(tmp_path):
    with pytest.raises(OperatorError, match="No run at"):
        record.load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["{", "[]", '{"schema_version": "one"}', '{"schema_version": 1, "id": "x"}'])
def test_file_that_is_no_record_is_explained(content, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(OperatorError, match="not the record of a benchmark run"):
        record.load(path)


def test_record_of_another_schema_is_refused_with_its_version(tmp_path):
    path = tmp_path / "result.json"
    path.write_text('{"schema_version": 99}')
    with pytest.raises(OperatorError, match="schema_version 99"):
        record.load(path)


@pytest.mark.parametrize("command", [["show", "nowhere"], ["claims", "nowhere"], ["compare", "nowhere", "nowhere"]])
def test_wrong_path_is_answered_with_the_command_that_helps(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, command).exception
    assert isinstance(refused, OperatorError)
    assert "No run at nowhere" in refused.message
    assert "chatsys bench list" in (refused.hint or "")


def test_empty_list_of_runs_says_so_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["list"]).output
    assert said == "There are no runs in reports: `chatsys bench` makes one, `--reports DIR` looks elsewhere.\n"
