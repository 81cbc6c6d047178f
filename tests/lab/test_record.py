"""The record of a run on disk."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from chatsys.cli.bench import app
from chatsys.errors import OperatorError
from chatsys.lab import record
from chatsys.results.files import write_atomically


def test_record_is_loaded_as_it_was_saved(result, samples, tmp_path):
    record.save(result, samples, tmp_path)
    assert record.load(tmp_path) == result
    again = record.load_samples(tmp_path)
    assert [(t.operation, t.contestant, t.round) for t in again] == [
        (t.operation, t.contestant, t.round) for t in samples
    ]
    np.testing.assert_allclose(again[3].microseconds, samples[3].microseconds, rtol=1e-6)


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
