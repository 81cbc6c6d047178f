"""What changed between two runs, and what the gate fails on."""

from __future__ import annotations

import copy

import msgspec
import pytest
from typer.testing import CliRunner

from chatsys.cli.bench import app
from chatsys.lab import record
from chatsys.lab.compare import compare, failures
from chatsys.lab.record import Count, Survival
from chatsys.lab.statistics import Interval


def worse_ratio(result, value, interval):
    changed = copy.deepcopy(result)
    changed.ratios[0] = msgspec.structs.replace(changed.ratios[0], ratio=value, interval=interval)
    return changed


def test_two_equal_runs_have_no_change(result):
    assert {change.verdict for change in compare(result, result)} == {"same"}


def test_a_ratio_beyond_its_interval_fails_the_gate(result):
    changes = compare(result, worse_ratio(result, 15, Interval(14, 16)))
    assert [change.after for change in failures(changes)] == [15]


def test_a_ratio_whose_interval_overlaps_passes_the_gate(result):
    assert not failures(compare(result, worse_ratio(result, 15, Interval(10, 20))))


def test_a_better_ratio_is_said_and_passes(result):
    changes = compare(result, worse_ratio(result, 5, Interval(4, 6)))
    assert "better" in {change.verdict for change in changes}
    assert not failures(changes)


def test_absolute_times_never_fail_the_gate(result):
    slow = copy.deepcopy(result)
    slow.operations = [
        msgspec.structs.replace(each, p50_us=each.p50_us * 10, interval=Interval(each.p50_us * 9, each.p50_us * 11))
        for each in slow.operations
    ]
    changes = compare(result, slow)
    assert any(change.verdict == "worse" for change in changes)
    assert not failures(changes)


@pytest.mark.parametrize(("value", "failed"), [(520, 0), (600, 1)])
def test_a_count_fails_the_gate_when_it_grows_by_more_than_a_tenth(result, value, failed):
    dearer = copy.deepcopy(result)
    dearer.counts = [Count(subject="send_message", metric="WAL bytes per call", value=value)]
    assert len(failures(compare(result, dearer))) == failed


def test_one_missing_message_fails_the_gate(result):
    lossy = copy.deepcopy(result)
    lossy.persistence[1] = Survival(store="postgresql", killed="server", acknowledged=500, missing=1)
    assert len(failures(compare(result, lossy))) == 1


@pytest.mark.parametrize(("change", "status"), [("none", 0), ("ratio", 1), ("invalid", 2)])
def test_the_command_ends_with_the_status_of_the_gate(result, tmp_path, change, status):
    after = worse_ratio(result, 15, Interval(14, 16)) if change == "ratio" else copy.deepcopy(result)
    if change == "invalid":
        after.invalid("the machine was busy")
    record.save(result, [], tmp_path / "a")
    record.save(after, [], tmp_path / "b")
    paths = [str(tmp_path / "a" / "result.json"), str(tmp_path / "b" / "result.json")]
    assert CliRunner().invoke(app, ["compare", *paths, "--gate"]).exit_code == status
    assert CliRunner().invoke(app, ["compare", *paths]).exit_code == 0
