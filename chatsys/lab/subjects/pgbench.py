"""pgbench as a subject: the same SQL from a client in C, so that a reader sees what Python itself costs.

Its log of single latencies reads the clock lazily and has calls of 0 microseconds, so a turn gives one sample: the mean
over its calls, from the rate that pgbench reports.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from chatsys.database.embedded import wheel_programs
from chatsys.errors import OperatorError
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.runner.repetitions import Order, Repetition
from chatsys.lab.workloads.baselines import SQL
from chatsys.lab.workloads.operation import FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH, SEND
from chatsys.store.address import read_url

NAME = "pgbench"
OPERATIONS = (FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH, SEND)
_SCRIPTS = 16  # each with its own arguments, chosen at random by pgbench
_CALLS, _COMMITS = 400, 200  # calls in a turn: of those that read, of those that commit
_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


class Pgbench:
    """Takes turns as a worker does; each turn is a run of pgbench with one client."""

    store = NAME

    def __init__(self, url: str, rows: Synthetic, cpu: int | None) -> None:
        self._cpu = cpu
        self.size = rows.users
        self._url = read_url(url).libpq
        self._rows = rows

    async def repeat(self, order: Order) -> Repetition:
        """Run one turn: a single sample, the mean over its calls. Raises OperatorError with pgbench's words."""
        folder = Path(tempfile.mkdtemp(prefix="chatsys-pgbench-"))
        try:
            return await self._run(folder, order)
        finally:
            shutil.rmtree(folder)

    async def _run(self, folder: Path, order: Order) -> Repetition:
        calls = _COMMITS if order.operation == SEND else _CALLS
        arguments = ["-n", "-M", "prepared", "-c", "1", "-t", str(calls), f"--random-seed={order.seed}"]
        for number in range(_SCRIPTS):
            script = folder / f"{number}.sql"
            script.write_text(_statement(order.operation, self._rows, order.seed + number))
            arguments += ["-f", str(script)]
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            wheel_programs() / "pgbench",
            *arguments,
            self._url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        if self._cpu is not None:
            os.sched_setaffinity(process.pid, {self._cpu})
        said, complaint = await process.communicate()
        rate = _RATE.search(said.decode())
        if process.returncode or rate is None:
            raise OperatorError(f"pgbench failed: {complaint.decode(errors='replace').strip()[-300:]}")
        return Repetition(nanoseconds=[int(1e9 / float(rate[1]))], seconds=time.perf_counter() - began)


def _statement(operation: str, rows: Synthetic, number: int) -> str:
    """The baseline's statement with its arguments written out: those of pgbench are numbers."""
    user = number % rows.users
    arguments = {
        FIND_BY_ID: (f"'{rows.user_id(user)}'",),
        FIND_BY_NAME: (f"'{rows.username(user)}'",),
        RECENT: (f"'{rows.room_id(rows.read_rooms[number % len(rows.read_rooms)])}'",),
        SEARCH: (f"'%{rows.search_text(user)}%'",),
        SEND: ("gen_random_uuid()", f"'{rows.user_id(user)}'", f"'{rows.room_id(len(rows.rooms))}'", "'by pgbench'"),
    }[operation]
    text = SQL[operation]
    for place, argument in enumerate(arguments, 1):
        text = text.replace(f"${place}", argument)
    return f"{text};\n"
