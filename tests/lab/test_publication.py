"""The workflow's own scripts, run against a bare repository on this disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from chatsys.lab import record
from chatsys.reports.records import run_folder

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / ".ci"
LIMIT = 200_000
"""The bytes that a publication may add to a clone."""


def run(*command: object, folder: Path, **more: str) -> str:
    """Run a command that must succeed; return its output."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CHATSYS": str(Path(sys.executable).parent / "chatsys"),
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment | more, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """An empty bare repository."""
    bare = tmp_path / "remote.git"
    run("git", "init", "--quiet", "--bare", bare, folder=tmp_path)
    return bare


def made(folder: Path, result: record.Result, number: int) -> Path:
    """Make a run of another day with samples that do not compress."""
    rng = np.random.default_rng(number)
    kinds = [(operation, store) for operation in ("search_users", "send_message") for store in ("memory", "postgresql")]
    samples = [
        record.Sampled(
            experiment="table", operation=operation, subject=store, depth="store", size=1, round=0,
            microseconds=rng.lognormal(3, 1, 100_000),
        )
        for operation, store in kinds
    ]  # fmt: skip
    changed = msgspec.structs.replace(
        result, id=f"01900000-0000-7000-8000-00000000000{number}", created_at=f"2026-01-0{number}T10:00:00.000Z"
    )
    record.save(changed, samples, folder / f"run{number}")
    return folder / f"run{number}"


def clone_size(remote: Path, folder: Path, name: str) -> int:
    """Return the size in bytes of the objects in a clone of all branches."""
    run("git", "clone", "--quiet", f"file://{remote}", name, folder=folder)
    found = run("git", "count-objects", "-v", folder=folder / name)
    sizes = dict(line.split(": ") for line in found.splitlines())
    return 1024 * (int(sizes["size"]) + int(sizes["size-pack"]))


def test_two_publications_in_a_row_keep_both_runs_and_a_clone_small(result, remote, tmp_path):
    committed = record.load(ROOT / "reports" / "latest")
    first, second = (made(tmp_path, committed, number) for number in (1, 2))
    assert (first / "samples.parquet").stat().st_size > LIMIT
    assert "Published 2026-01-01T100000-standard" in run(SCRIPTS / "publish", first, remote, folder=tmp_path)
    before = clone_size(remote, tmp_path, "one")
    run(SCRIPTS / "publish", second, remote, folder=tmp_path)
    after = clone_size(remote, tmp_path, "two")
    assert after - before < LIMIT
    run("git", "checkout", "--quiet", "benchmarks", folder=tmp_path / "two")
    assert len(list((tmp_path / "two" / "runs").iterdir())) == 2
    assert "published already" in run(SCRIPTS / "publish", second, remote, folder=tmp_path)
    assert len(run("git", "ls-remote", remote, "refs/samples/*", folder=tmp_path).splitlines()) == 2


def test_site_has_every_published_run_with_its_samples(result, remote, tmp_path):
    for number in (1, 2):
        run(SCRIPTS / "publish", made(tmp_path, result, number), remote, folder=tmp_path)
    for name in ("reports", "docs"):
        (tmp_path / name).mkdir()
    (tmp_path / "mkdocs.yml").write_text("site_name: a chat\nuse_directory_urls: false\n")
    (tmp_path / "docs" / "index.md").write_text("# A chat\n")
    run(SCRIPTS / "site", tmp_path / "pages", remote, folder=tmp_path, WITHOUT_NOTEBOOKS="1")
    assert "A chat" in (tmp_path / "pages" / "docs" / "index.html").read_text()
    assert "docs/index.html" in (tmp_path / "pages" / "index.html").read_text()
    runs = sorted((tmp_path / "pages" / "runs").iterdir())
    assert len(runs) == 2
    for folder in runs:
        assert {"index.html", "report.md", "result.json", "samples.parquet"} <= {each.name for each in folder.iterdir()}
        assert f"runs/{folder.name}/index.html" in (tmp_path / "pages" / "index.html").read_text()
    assert (tmp_path / "pages" / "runs" / runs[0].name / "samples.parquet").stat().st_size > LIMIT


def test_concurrent_publication_is_not_dropped(result, remote, tmp_path):
    """Another job publishes after this one has fetched. The push is refused and repeated on top of the other."""
    run(SCRIPTS / "publish", made(tmp_path, result, 1), remote, folder=tmp_path)
    hook = remote / "hooks" / "pre-receive"
    hook.write_text(
        "#!/bin/sh\nread old new ref\ncase $ref in refs/samples/*) exit 0;; esac\n"
        f"if [ ! -e {tmp_path}/once ]; then touch {tmp_path}/once; exit 1; fi\n"
    )
    hook.chmod(0o755)
    run(SCRIPTS / "publish", made(tmp_path, result, 2), remote, folder=tmp_path)
    assert (tmp_path / "once").exists()
    run("git", "clone", "--quiet", "--branch", "benchmarks", remote, "clone", folder=tmp_path)
    assert len(list((tmp_path / "clone" / "runs").iterdir())) == 2


@pytest.mark.parametrize(("status", "ends"), [(0, 0), (2, 0), (1, 1)])
def test_measurement_writes_the_summary_and_accepts_an_invalid_run(result, tmp_path, status, ends):
    folder = made(tmp_path, result, 1)
    summary, output = tmp_path / "summary.md", tmp_path / "output"
    done = subprocess.run(
        [SCRIPTS / "measure", folder, "bash", "-c", f"exit {status}"],
        env={"PATH": os.environ["PATH"], "CHATSYS": str(Path(sys.executable).parent / "chatsys"),
             "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(output)},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == ends, done.stderr
    assert output.read_text() == f"status={status}\n"
    assert "A message takes" in summary.read_text()
    assert "| Promise |" in summary.read_text()


def test_publication_scripts_name_a_run_as_the_program_does(result, tmp_path):
    folder = made(tmp_path, result, 3)
    said = run(sys.executable, SCRIPTS / "run-name", folder / "result.json", folder=tmp_path).strip()
    assert said == run_folder(tmp_path, record.load(folder)).name


def test_publication_scripts_are_valid_bash(tmp_path):
    for name in ("measure", "publish", "site"):
        run("bash", "-n", SCRIPTS / name, folder=tmp_path)


def test_files_that_a_run_writes_are_ignored_by_git():
    names = ["reports/runs/a/result.json", "reports/index.html", "reports/report.md", "reports/decision.svg",
             "reports/history-a.svg", "reports/latest/index.html"]  # fmt: skip
    assert run("git", "check-ignore", "--no-index", *names, folder=ROOT).split() == names
    assert run("git", "ls-files", *names, folder=ROOT) == ""
