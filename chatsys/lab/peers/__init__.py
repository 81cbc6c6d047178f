"""Other Socket.IO servers with default options, which do the same as :mod:`chatsys.lab.subjects.reference`.

They are installed once, from npm, into a folder. ``plain`` is not a Socket.IO server but a loop of ``send`` over the
sockets: the bound for servers that write each message separately.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.subjects.servers import ServerProcess, listening_server, this_program

HERE = Path(__file__).parent
PROGRAMS = ("package.json", "chat.mjs", "server.mjs", "bun.mjs")
INSTALL_MOST = 300
"""Seconds after which npm is ended."""


class Peer(NamedTuple):
    """A server to compare with: its ``name``, and a function that starts it on a processor."""

    name: str
    start: Callable[[Path, int | None], AbstractContextManager[ServerProcess]]


def _on_node(kind: str) -> Callable[[Path, int | None], AbstractContextManager[ServerProcess]]:
    return lambda folder, cpu: listening_server(kind, ["node", str(folder / "server.mjs"), kind], cpu=cpu)


def _on_bun(folder: Path, cpu: int | None) -> AbstractContextManager[ServerProcess]:
    return listening_server("Bun", [str(folder / "node_modules/.bin/bun"), "run", str(folder / "bun.mjs")], cpu=cpu)


def _plain(_folder: Path, cpu: int | None) -> AbstractContextManager[ServerProcess]:
    command = [sys.executable, "-m", "chatsys.lab.peers.plain"]
    return listening_server(PLAIN, command, cpu=cpu, variables={"PYTHONPATH": this_program().path})


PLAIN = "a plain loop of send"
PEERS = (
    Peer("Socket.IO on Node's ws", _on_node("ws")),
    Peer("Socket.IO on uWebSockets", _on_node("uws")),
    Peer("Socket.IO on Bun", _on_bun),
    Peer(PLAIN, _plain),
)


def installed(folder: Path) -> dict[str, str]:
    """Install the peers into ``folder`` unless they are there, and return their versions.

    Raises OperatorError if Node.js or npm is missing or npm fails.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        raise OperatorError("The peers need Node.js and npm.", hint="Install node and npm (version 20).")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package.json").read_text()
    done = folder / "installed"
    for name in PROGRAMS:
        shutil.copyfile(HERE / name, folder / name)
    if not done.exists() or done.read_text() != wanted:
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        try:
            made = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_MOST, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise OperatorError(f"npm did not finish within {INSTALL_MOST} seconds.", hint="Try again.") from error
        if made.returncode:
            first = (made.stderr.strip().splitlines() or ["it printed nothing"])[0]
            raise OperatorError(f"npm could not install the peers: {first}", hint=f"Try `npm install` in {folder}.")
        done.write_text(wanted)
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    modules, names = folder / "node_modules", msgspec.json.decode(wanted)["dependencies"]
    versions = {name: msgspec.json.decode((modules / name / "package.json").read_bytes())["version"] for name in names}
    return {"node": node.removeprefix("v"), **versions}
