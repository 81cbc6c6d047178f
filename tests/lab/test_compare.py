"""What changed between two runs, and which changes fail the gate."""

from __future__ import annotations

import copy

import msgspec
import pytest
from typer.testing import CliRunner

from chatsys.cli.bench import app
from chatsys.lab import record
from chatsys.lab.comparison import compare, failures
from chatsys.lab.record import Count, Survival
from chatsys.results.run import Interval


def with_counts(result, value, metric="statements per call", subject="send_message"):
    changed = copy.deepcopy(result)
    changed.counts = [Count(subject=subject, metric=metric, value=value)]
    return changed


def slow(result):
    """The same counts, and all times and ratios ten times as large, far beyond their intervals."""
    changed = copy.deepcopy(result)
    changed.operations = [
        msgspec.structs.replace(each, p50_us=each.p50_us * 10, interval=Interval(each.p50_us * 9, each.p50_us * 11))
        for each in changed.operations
    ]
    changed.ratios = [
        msgspec.structs.replace(each, ratio=each.ratio * 10, interval=Interval(each.ratio * 9, each.ratio * 11))
        for each in changed.ratios
    ]
    return changed


def test_two_equal_runs_have_no_change(result):
    assert {change.verdict for change in compare(result, result)} <= {"same", "not judged"}


def test_times_and_ratios_of_two_runs_are_shown_and_never_judged(result):
    changes = compare(result, slow(result))
    assert {change.verdict for change in changes if change.before != change.after} == {"not judged"}
    assert any(change.after == 10 * change.before for change in changes)
    assert not failures(changes)


@pytest.mark.parametrize(("value", "failed"), [(1.05, 0), (1.2, 1)])
def test_count_fails_the_gate_when_it_grows_by_more_than_a_tenth(result, value, failed):
    changes = compare(with_counts(result, 1.0), with_counts(result, value))
    assert len(failures(changes)) == failed


@pytest.mark.parametrize(
    ("metric", "subject"), [("WAL bytes per call", "mark_read"), ("statements per call", "send_message x64")]
)
def test_count_that_varies_between_equal_runs_is_not_judged(result, metric, subject):
    before, after = (with_counts(result, value, metric, subject) for value in (1.0, 9.0))
    assert {each.verdict for each in compare(before, after) if each.what.startswith(subject)} >= {"not judged"}
    assert not failures(compare(before, after))


def test_one_missing_message_fails_the_gate(result):
    lossy = copy.deepcopy(result)
    lossy.persistence[1] = Survival(store="postgresql", killed="server", acknowledged=500, missing=1)
    assert len(failures(compare(result, lossy))) == 1


def different(result, what):
    """Return the run with a change."""
    changed = copy.deepcopy(result)
    if what == "validity":
        changed.invalid("the machine was busy")
    elif what == "profile":
        changed.profile = "full"
    elif what == "data size":
        changed.parameters = {"users": 7, "messages": 9}
    elif what == "machine":
        changed.environment = {**changed.environment, "cpu": "another processor"}
    elif what == "count":
        changed = with_counts(changed, 9.0)
    return changed


@pytest.mark.parametrize("what", ["validity", "profile", "data size", "machine"])
def test_incomparable_runs_are_named_first_and_fail_the_gate(result, tmp_path, what):
    done, gated = compared(result, different(result, what), tmp_path)
    first = done.stdout.splitlines()[0]
    assert first.startswith("NOT COMPARABLE: ")
    assert what in first
    assert (done.exit_code, gated.exit_code) == (0, 2)


@pytest.mark.parametrize(
    ("what", "first", "status"), [("nothing", "No count is worse", 0), ("count", "WORSE: send_message: statements", 1)]
)
def test_command_ends_with_the_status_of_the_gate(result, tmp_path, what, first, status):
    done, gated = compared(with_counts(result, 1.0), different(with_counts(result, 1.0), what), tmp_path)
    assert done.stdout.startswith(first)
    assert (done.exit_code, gated.exit_code) == (0, status)


def compared(before, after, folder):
    """Return the command's output for two runs, without and with --gate."""
    record.save(before, [], folder / "a")
    record.save(after, [], folder / "b")
    paths = ["compare", str(folder / "a" / "result.json"), str(folder / "b")]
    return CliRunner().invoke(app, paths), CliRunner().invoke(app, [*paths, "--gate"])
