"""The wheel: it carries database/, and works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bin", "Scripts")


def run(*command: str | Path, folder: Path, **environ: str) -> str:
    clean = {name: text for name, text in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    found = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**clean, **environ},
        timeout=100,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def tracked(folder: str) -> set[str]:
    """The files of a folder that are under version control, also where the checkout belongs to another user."""
    return set(run("git", "-c", "safe.directory=*", "ls-files", folder, folder=ROOT).split())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    (built,) = folder.glob("chatsys-*.whl")
    return built


@pytest.fixture(scope="module")
def scratch(wheel: Path, tmp_path_factory) -> Path:
    """A new environment with the wheel, the libraries of this one lent to it; the folder of its programs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    (programs,) = [folder / name for name in FOLDERS if (folder / name).is_dir()]
    run(programs / "python", "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", wheel, folder=folder)
    packages = run(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder)
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(packages.strip()) / "lent.pth").write_text("\n".join(sorted(lent)) + "\n")
    return programs


def test_the_wheel_carries_what_lies_in_database(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("chatsys/database/")}
    listed = tracked("database")
    assert "database/schema.sql" in listed
    assert {f"chatsys/{name}" for name in listed} <= inside


def test_the_wheel_carries_every_file_of_the_package(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert tracked("chatsys") <= inside


def test_the_program_works_outside_the_checkout(scratch, tmp_path):
    where = run(scratch / "python", "-c", "import chatsys; print(chatsys.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(scratch.parent)
    assert "serve" in run(scratch / "chatsys", "--help", folder=tmp_path)


def test_the_libraries_that_the_wheel_asks_for_are_those_that_the_tests_run_with(scratch, tmp_path):
    assert "No broken requirements" in run(scratch / "python", "-m", "pip", "check", folder=tmp_path)


def test_a_database_can_be_made_outside_the_checkout(scratch, tmp_path, empty_postgres_url):
    run(scratch / "chatsys", "db", "init", "--database-url", empty_postgres_url, folder=tmp_path)
    status = run(scratch / "chatsys", "db", "status", "--database-url", empty_postgres_url, folder=tmp_path)
    assert status.strip()
