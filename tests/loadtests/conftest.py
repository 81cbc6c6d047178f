"""Servers and cases in child processes: importing Locust patches the whole interpreter for gevent."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE = ROOT / "tests/flow/node/node_modules"
ENVIRON = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
PATIENCE = 220
"""Seconds within which a program must end by itself; less than pytest's own limit."""


def promises(module: str) -> list[str]:
    """Return the names of the cases in ``cases/<module>.py``. Each is a promise that one test checks."""
    tree = ast.parse((HERE / "cases" / f"{module}.py").read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    assert names
    return names


@functools.cache
def _outcomes(module: str, arguments: tuple[str, ...]) -> dict[str, str]:
    """Return the outcome of each case of a module, run in one separate interpreter: nothing, or a traceback."""
    command = [sys.executable, "-W", "error", "-m", "tests.loadtests.cases", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


def check_promise(module: str, promise: str, *arguments: str) -> None:
    """Check that a case has no traceback."""
    assert _outcomes(module, arguments)[promise] == ""


@contextmanager
def serving(program: str, *arguments: str) -> Iterator[str]:
    """The address of a server program of this folder, which prints it first. The program is ended afterwards."""
    with _running([sys.executable, "-m", f"tests.loadtests.{program}", *arguments]) as address:
        yield address


@contextmanager
def node_server(*arguments: str) -> Iterator[str]:
    """The address of a Node.js socket.io server; a path prefix and a certificate beside its key are optional."""
    assert NODE.is_dir(), "install the JavaScript packages: npm ci --prefix tests/flow/node"
    with _running(["node", str(HERE / "node_server.js"), *arguments], NODE_PATH=str(NODE)) as address:
        yield address


@contextmanager
def _running(command: list[str], **environ: str) -> Iterator[str]:
    child = subprocess.Popen(command, cwd=ROOT, env=ENVIRON | environ, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        assert address.startswith("http")
        yield address
    finally:
        child.kill()  # when asked to stop, a stock server waits for the polls of clients that vanished
        child.wait()
        child.stdout.close()


@pytest.fixture(scope="session")
def reference_server() -> Iterator[str]:
    """A stock python-socketio server."""
    with serving("reference_server") as address:
        yield address


@pytest.fixture(scope="session", params=["python", "node"])
def any_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Stock servers of both kinds, as others run them."""
    if request.param == "python":
        yield request.getfixturevalue("reference_server")
    else:
        with node_server() as address:
            yield address


def free_master_port() -> tuple[str, ...]:
    """Return options for a master and workers on a port that no other Locust of this machine uses."""
    port = str(free_port())
    return "--master-bind-port", port, "--master-port", port


def locust(*arguments: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run ``locust -f loadtests/chat.py --headless`` in the checkout's root."""
    command = [sys.executable, "-m", "locust", "-f", "loadtests/chat.py", "--headless", *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=timeout, check=False)
