"""A comparison of two commits with real processes, and the faults that the older commit may have."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from chatsys.cli import bench
from chatsys.errors import LabBusy, OperatorError
from chatsys.lab.against import checkout, comparison, instructions, planted, record, subject, table
from chatsys.lab.against.checkout import checked_out
from chatsys.lab.against.comparison import ComparisonRequest, compare, rows_of
from chatsys.lab.against.measures import CPU, INSTRUCTIONS, STATEMENTS, TIME
from chatsys.lab.against.plan import PLANS, ComparisonPlan
from chatsys.lab.against.record import Commit, CommitComparison
from chatsys.lab.against.sides import NoSubject, Side
from chatsys.lab.against.subject import Open
from chatsys.lab.subjects.servers import Program

ROOT = Path(__file__).resolve().parents[2]
TINY = ComparisonPlan(
    name="tiny",
    users=40,
    messages=120,
    rounds=5,
    most=5,
    seconds=60,
    repetitions=2,
    scale=1,
    senders=2,
    members=4,
    names=("memory: send", "PostgreSQL: send", "HTTP: health", "Socket.IO: fan-out"),
)
ROWS = Open(url="memory://", users=20, messages=120, seed=1, fill=True)


@pytest.mark.parametrize("plan", [TINY, *PLANS.values()], ids=lambda plan: plan.name)
def test_each_side_comes_first_as_often_as_the_other(plan):
    assert plan.repetitions % 2 == 0


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=lab", "-c", "user.email=lab@example.org"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def repository(folder: Path, **files: str) -> Path:
    """Create a repository with one commit of these files; ``_`` stands for a dot in a name."""
    folder.mkdir(exist_ok=True)
    git(folder, "init", "--quiet")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


@pytest.fixture
def quiet(monkeypatch):
    """A machine without other load, and a prepared environment."""
    monkeypatch.setattr(comparison, "BLUNT", 1e9)
    monkeypatch.setattr(checkout, "environment", lambda *_: Path(sys.executable))


@pytest.fixture
def renamed(tmp_path, monkeypatch):
    """A checkout of this project whose last commit renames an internal module of the lab."""
    folder = tmp_path / "project"
    for name in ("chatsys", "database"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    lab = folder / "chatsys" / "lab"
    for path in (folder / "chatsys").rglob("*.py"):
        path.write_text(path.read_text().replace("chatsys.lab.datasets.synthetic", "chatsys.lab.made_up"))
    (lab / "datasets" / "synthetic.py").rename(lab / "made_up.py")
    repository(folder)
    shutil.rmtree(folder / "chatsys")
    shutil.copytree(ROOT / "chatsys", folder / "chatsys", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(comparison, "project", lambda: folder)
    return folder


@pytest.mark.timeout(600)  # some thirty processes start one after another
def test_planted_slowdown_is_found_despite_a_renamed_module(renamed, lab_server, tmp_path, quiet):
    request = ComparisonRequest(
        revision="HEAD",
        plan=TINY,
        database_url=lab_server,
        data_dir=tmp_path / "data",
        planted=Path(planted.__file__).parent,
        variables={"PLANTED_SLOWDOWN": "store write:2"},
    )
    result = compare(request, lambda _: None)
    assert result.valid, result.reasons
    assert not result.before.unmeasured
    assert "memory: send" in {row.operation for row in result.slower()}
    measured = {(row.operation, row.measure) for row in result.rows}
    assert {("HTTP: health", TIME), ("HTTP: health", CPU), ("PostgreSQL: send", STATEMENTS)} <= measured
    assert ("Socket.IO: fan-out", CPU) in measured
    assert not (result.uncounted and "CI" in os.environ)
    if not result.uncounted:
        assert {(name, INSTRUCTIONS) for name, _ in measured} <= measured | {("Connection", INSTRUCTIONS)}
        assert ("memory: send", INSTRUCTIONS) in {(row.operation, row.measure) for row in result.slower()}
    assert all(row.before > 0 and row.after > 0 and len(row.rounds) == TINY.rounds for row in result.rows)
    assert table.answer(result).startswith("SLOWER than HEAD (")
    assert record.load(record.save(result, tmp_path)).rows == result.rows
    assert git(renamed, "worktree", "list").count("\n") == 1


@pytest.fixture
def command_output(monkeypatch, tmp_path):
    """Return what the command says of the last commit of a repository."""

    def run(folder: Path, revision: str = "HEAD") -> str:
        monkeypatch.setattr(comparison, "project", lambda: folder)
        monkeypatch.setenv("CHATSYS_DATA_DIR", str(tmp_path / "data"))
        done = CliRunner().invoke(bench.app, ["--against", revision, "--profile", "quick"])
        assert done.exit_code == 2
        assert done.stdout == ""
        assert git(folder, "worktree", "list").count("\n") == 1
        return done.stderr

    return run


def one_sentence(said: str) -> bool:
    """Check that it is one line: a sentence and a remedy."""
    return said.startswith("Error: ") and said.count("\n") == 1 and "Traceback" not in said


@pytest.mark.process
def test_missing_revision_is_reported_in_one_sentence(command_output, tmp_path):
    said = command_output(repository(tmp_path / "bare", pyproject_toml="[project]\n"), "no-such-branch")
    assert one_sentence(said)
    assert "There is no revision no-such-branch" in said
    assert "git fetch --unshallow" in said


@pytest.mark.process
@pytest.mark.parametrize("text", ["[project\n", "[project]\nname = 'chatsys'\n"])
def test_broken_project_file_of_a_revision_is_reported_in_one_sentence(command_output, tmp_path, text):
    said = command_output(repository(tmp_path / "broken", pyproject_toml=text))
    assert one_sentence(said)
    assert "HEAD can't be built: pyproject.toml" in said


_MISSING = "['a-package-that-nobody-made==9']"


@pytest.mark.process
@pytest.mark.parametrize(
    "needs",
    [
        f"dependencies = {_MISSING}\n",
        "dependencies = []\n[project.optional-dependencies]\n"
        f"bench = ['chatsys[other, embedded]']\nother = []\nembedded = {_MISSING}\n",
    ],
    ids=["itself", "its extra for the laboratory"],
)
def test_uninstallable_requirements_are_reported_in_one_sentence(command_output, tmp_path, monkeypatch, needs):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    text = f"[project]\nname = 'chatsys'\n{needs}"
    said = command_output(repository(tmp_path / "lacking", pyproject_toml=text))
    assert one_sentence(said)
    assert "a-package-that-nobody-made" in said
    environments = tmp_path / "data" / "against" / "environments"
    assert not list(environments.glob("*/ready"))


def test_revision_that_does_not_start_is_quoted(tmp_path, lab_server):
    package = tmp_path / "chatsys"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys\nsys.exit('Error: this one is broken')\n")
    side = Side(name="before", label="HEAD", program=Program(sys.executable, str(tmp_path)), server_url=lab_server)
    with pytest.raises(OperatorError, match="HEAD does not start: this one is broken"):
        side.set_up(ROWS)


def test_revision_without_the_subject_command_is_recognised(tmp_path, lab_server):
    package = tmp_path / "chatsys"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys\nsys.exit(2)\n")
    side = Side(name="before", label="HEAD", program=Program(sys.executable, str(tmp_path)), server_url=lab_server)
    with pytest.raises(NoSubject, match="has no `chatsys bench subject`"), side.subject(ROWS):
        pass


@pytest.mark.process
def test_leftovers_of_a_killed_run_are_replaced_and_a_second_run_refused(tmp_path, quiet):
    folder = repository(tmp_path / "project", pyproject_toml="[project]\n")
    target = tmp_path / "against"
    git(folder, "worktree", "add", "--quiet", "--detach", str(target / "tree"))
    (target / "tree" / "left.txt").touch()
    with checked_out("HEAD", folder, target) as found:
        assert not (found.tree / "left.txt").exists()
        assert found.commit == git(folder, "rev-parse", "HEAD").strip()
        with pytest.raises(LabBusy), checked_out("HEAD", folder, target):
            pass
        assert found.tree.exists()
    assert git(folder, "worktree", "list").count("\n") == 1


async def test_subject_answers_each_line_in_its_protocol():
    requests = [
        {"do": "open", "url": "memory://", "users": 20, "messages": 120, "seed": 1, "fill": True},
        {"do": "run", "operation": "find_user_by_id", "calls": 10, "batch": 4, "seed": 1, "watch": [os.getpid()]},
        {"do": "run", "operation": "send_message", "calls": 8, "batch": 8, "seed": 1, "together": True},
        {"do": "run", "operation": "nothing_of_the_kind", "calls": 1, "batch": 1, "seed": 1},
        {"do": "dance"},
    ]
    answers = io.BytesIO()
    await subject.serve(io.BytesIO(b"".join(msgspec.json.encode(each) + b"\n" for each in requests)), answers)
    hello, opened, found, sent, unknown, bad = map(msgspec.json.decode, answers.getvalue().splitlines())
    assert hello["protocol"] == 1
    assert {"find_user_by_id", "send_message"} <= set(opened["operations"])
    assert (len(found["wall"]), len(found["cpu"]), len(sent["wall"])) == (3, 3, 1)
    assert all(value > 0 for value in found["wall"])
    assert "nothing_of_the_kind" in unknown["error"]
    assert "error" in bad


def result_of(observed, counted=None, **more) -> CommitComparison:
    made = CommitComparison(
        id="01900000-0000-7000-8000-000000000001",
        created_at="2026-01-01T00:00:00.000Z",
        before=Commit(revision="a-branch-with-a-long-name", commit="0" * 40, dirty=False),
        after=Commit(revision="working tree", commit="1" * 40, dirty=True),
        profile="quick",
        seed=1,
        environment={},
        parameters={"run_error": 0.02},
        **more,
    )
    made.rows = rows_of(observed, counted)
    return made


def rounds_of(**factors: float):
    """Return eight rounds of a few operations; the named ones are slower on the later side by a factor."""
    keys = {
        "send": ("PostgreSQL: send x64", TIME),
        "cpu": ("PostgreSQL: send x64", CPU),
        "echo": ("Socket.IO: acknowledge", TIME),
        "count": ("PostgreSQL: 100 messages", STATEMENTS),
    }
    return [
        {
            key: (before, before * factors.get(name, 1.0) * (1 if name == "count" else 1 + 0.002 * (-1) ** number))
            for name, key in keys.items()
            for before in [12_345.678 if name != "count" else 2.0]
        }
        for number in range(8)
    ]


@pytest.mark.parametrize("factors", [{}, {"send": 1.5}, {"echo": 0.5, "count": 1.5}])
def test_table_fits_80_columns_and_begins_with_the_answer(factors):
    result = result_of(rounds_of(**factors))
    many = {"PostgreSQL: find by name": ([123_456_789.0] * 3, [123_500_000.0] * 3)}
    result.rows += rows_of(rounds_of(), many)[-1:]
    lines = table.text(result).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("SLOWER than" if any(each > 1 for each in factors.values()) else "Nothing is slower")
    assert table.markdown(result).startswith(f"**{lines[0]}")


def test_count_that_differs_in_every_round_needs_no_statistics():
    row = next(each for each in result_of(rounds_of(count=1.5)).rows if each.measure == STATEMENTS)
    assert (row.verdict, row.counted, round(row.ratio, 2)) == ("slower", True, 1.5)


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ([110, 111, 109, 112, 113], "slower"),
        ([90, 91, 89, 92, 93], "faster"),
        ([110, 111, 100, 112, 113], "no difference found"),
        ([104, 105, 103, 106, 107], "no difference found"),
    ],
)
def test_instructions_differ_where_all_pairs_do(after, verdict):
    samples = [100.0, 101.0, 99.0, 102.0, 103.0], list(map(float, after))
    result = result_of(rounds_of(), {"PostgreSQL: send x64": samples})
    row = next(each for each in result.rows if each.measure == INSTRUCTIONS)
    assert row.verdict == verdict
    assert verdict == "no difference found" or row in table.shown(result)
    assert max(map(len, table.text(result).splitlines())) <= 80


def test_comparison_of_schema_version_1_is_read_with_the_present_names(tmp_path):
    result = result_of(rounds_of(send=2))
    result.parameters["repetitions"] = 4
    file = record.save(result, tmp_path)
    older = msgspec.json.decode(file.read_bytes()) | {"schema_version": 1}
    older["parameters"]["turns"] = older["parameters"].pop("repetitions")
    file.write_bytes(msgspec.json.encode(older))
    assert record.load(file) == result


@pytest.mark.process
@pytest.mark.parametrize("end", [KeyboardInterrupt, OperatorError])
@pytest.mark.parametrize("sides", [("before", "after"), ("after", "before")])
def test_failure_of_one_side_ends_the_other_side_at_once(monkeypatch, sides, end):
    started = []

    def count_side(side: str, *_: object) -> dict[str, list[float]]:
        if side == "before":
            while not started:
                time.sleep(0.01)
            raise end("no more")
        command = [sys.executable, "-c", "import time; time.sleep(60)", "--tool=callgrind"]
        started.append(subprocess.Popen(command))
        started[0].wait()
        return {}

    monkeypatch.setattr(instructions, "_count_side", count_side)
    began = time.monotonic()
    with pytest.raises(end, match="no more"):
        instructions.count(sides, TINY, (), ROWS)
    assert started[0].returncode == -signal.SIGKILL
    assert time.monotonic() - began < 30


def test_instruction_counts_decide_when_times_vary():
    observed = rounds_of()
    noisy = [{key: (before, after * (2 if number % 2 else 0.5)) for key, (before, after) in each.items()}
             for number, each in enumerate(observed)]  # fmt: skip
    steady = [100.0, 100.0, 101.0, 100.0, 100.0]
    result = result_of(noisy, {name: (steady, steady) for name, _ in noisy[0]})
    assert {row.measure for row in result.finest()} == {INSTRUCTIONS}
    comparison._check_sharpness(result)
    assert result.valid


@pytest.mark.parametrize(("factor", "valid"), [(1.0, False), (3.0, True)])
def test_imprecise_comparison_is_valid_only_if_it_finds_a_slowdown(factor, valid):
    noisy = [{key: pair if key[0].startswith("PostgreSQL: send") else (pair[0], pair[1] * (2 if number % 2 else 0.5))
              for key, pair in each.items()} for number, each in enumerate(rounds_of(send=factor))]  # fmt: skip
    result = result_of(noisy, foreign=[0.1], steal=[0.05])
    assert bool(result.slower()) is valid
    comparison._check_sharpness(result)
    assert result.valid is valid


def test_missing_valgrind_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    result = result_of(rounds_of(), uncounted=instructions.why_none_are_counted())
    assert "apt install valgrind" in " ".join(table.text(result).split())


def test_operation_without_a_difference_shows_the_finest_measure():
    observed = rounds_of()
    noisy = [{**each, ("PostgreSQL: send x64", CPU): (1.0, 1.3 if number % 2 else 0.8)}
             for number, each in enumerate(observed)]  # fmt: skip
    rows = table.shown(result_of(noisy))
    assert [row.measure for row in rows if row.operation == "PostgreSQL: send x64"] == [TIME]


def test_measure_that_a_round_lacks_is_omitted():
    observed = rounds_of()
    del observed[3]["Socket.IO: acknowledge", TIME]
    assert "Socket.IO: acknowledge" not in {row.operation for row in result_of(observed).rows}


def test_invalid_comparison_says_so_first():
    result = result_of(rounds_of(send=3))
    result.invalid("other programs used more than 15% of the processors")
    assert table.text(result).splitlines()[0].startswith("INVALID: other programs")


@pytest.mark.parametrize(("factor", "valid", "status"), [(1.0, True, 0), (2.0, True, 1), (2.0, False, 2)])
def test_exit_status_says_what_was_found(monkeypatch, tmp_path, factor, valid, status):
    made = result_of(rounds_of(send=factor), valid=valid, reasons=[] if valid else ["the machine was busy"])
    monkeypatch.setattr(comparison, "compare", lambda *_: made)
    done = CliRunner().invoke(bench.app, ["--against", "HEAD", "--out", str(tmp_path), "--markdown"])
    assert done.exit_code == status
    assert record.load(tmp_path / record.COMPARISON) == made
    assert done.stdout.startswith("**")
