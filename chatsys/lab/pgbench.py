"""pgbench as a contestant: the same SQL from a client in C, so that a reader sees what Python itself costs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

from chatsys.errors import OperatorError
from chatsys.lab.synthetic import Synthetic
from chatsys.lab.turns import Order, Turn
from chatsys.lab.workloads.floors import SQL
from chatsys.lab.workloads.operation import FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH, SEND
from chatsys.store.embedded import wheel_programs
from chatsys.store.postgres.address import read_url

NAME = "pgbench"
OPERATIONS = (FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH, SEND)
_SCRIPTS = 16  # each with its own arguments, chosen at random by pgbench
_CALLS = 200


class Pgbench:
    """Takes turns as a worker does; each turn is a run of pgbench with one client and its log of latencies."""

    store = NAME

    def __init__(self, url: str, rows: Synthetic) -> None:
        self.size = rows.users
        self._url = read_url(url).libpq
        self._rows = rows

    async def turn(self, order: Order) -> Turn:
        """Run one turn. Raises OperatorError with pgbench's words if it fails."""
        folder = Path(tempfile.mkdtemp(prefix="chatsys-pgbench-"))
        try:
            return await self._run(folder, order)
        finally:
            shutil.rmtree(folder)

    async def _run(self, folder: Path, order: Order) -> Turn:
        arguments = ["-n", "-M", "prepared", "-c", "1", "-t", str(min(order.most, _CALLS)), "-l"]
        arguments += [f"--log-prefix={folder / 'log'}", f"--random-seed={order.seed}"]
        for number in range(_SCRIPTS):
            script = folder / f"{number}.sql"
            script.write_text(_statement(order.operation, self._rows, order.seed + number))
            arguments += ["-f", str(script)]
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            wheel_programs() / "pgbench",
            *arguments,
            self._url,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        if process.returncode:
            raise OperatorError(f"pgbench failed: {said.decode(errors='replace').strip().splitlines()[-1]}")
        lines = [line for log in folder.glob("log*") for line in log.read_text().splitlines()]
        spent = [max(1, int(line.split()[2])) * 1000 for line in lines]  # whole microseconds, read from a lazy clock
        return Turn(nanoseconds=spent, seconds=time.perf_counter() - began, cpu=0.0)


def _statement(operation: str, rows: Synthetic, number: int) -> str:
    """The floor's statement with its arguments written out: those of pgbench are numbers."""
    user = number % rows.users
    arguments = {
        FIND_BY_ID: (f"'{rows.user_id(user)}'",),
        FIND_BY_NAME: (f"'{rows.username(user)}'",),
        RECENT: (f"'{rows.room_id(0)}'",),
        SEARCH: (f"'%{rows.search_text(user)}%'",),
        SEND: ("gen_random_uuid()", f"'{rows.user_id(user)}'", f"'{rows.room_id(len(rows.rooms))}'", "'by pgbench'"),
    }[operation]
    text = SQL[operation]
    for place, argument in enumerate(arguments, 1):
        text = text.replace(f"${place}", argument)
    return f"{text};\n"
