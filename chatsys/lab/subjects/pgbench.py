"""pgbench as a subject: the same SQL from a client in C, so that a reader sees the cost of Python itself.

pgbench reads the clock lazily for its log of single latencies, which therefore has calls of 0 microseconds. So a
repetition has one sample, the mean over its calls, from the rate that pgbench reports.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from chatsys.database.embedded import wheel_programs
from chatsys.errors import OperatorError
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.runner.repetitions import Order, Repetition
from chatsys.lab.workloads.baselines import SQL
from chatsys.lab.workloads.operation import FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH, SEND
from chatsys.store.address import read_url

NAME = "pgbench"
OPERATIONS = (FIND_BY_ID, FIND_BY_NAME, RECENT, SEARCH, SEND)
_SCRIPTS = 16  # each with its own arguments; pgbench chooses among them at random
_CALLS, _COMMITS = 400, 200  # calls in a repetition: of a read, of a statement that commits
_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


class Pgbench:
    """A subject like a worker. Each repetition is a run of pgbench with one client."""

    store = NAME

    def __init__(self, url: str, rows: Synthetic, cpu: int | None) -> None:
        self._cpu = cpu
        self.size = rows.users
        self._url = read_url(url).libpq
        self._rows = rows

    async def repeat(self, order: Order) -> Repetition:
        """Run pgbench once: a single sample, the mean over its calls. Raises OperatorError with pgbench's output."""
        with TemporaryDirectory(prefix="chatsys-pgbench-") as folder:
            return await self._run(Path(folder), order)

    async def _run(self, folder: Path, order: Order) -> Repetition:
        calls = _COMMITS if order.operation == SEND else _CALLS
        arguments = ["-n", "-M", "prepared", "-c", "1", "-t", str(calls), f"--random-seed={order.seed}"]
        for number in range(_SCRIPTS):
            script = folder / f"{number}.sql"
            script.write_text(_statement(order.operation, self._rows, order.seed + number))
            arguments += ["-f", str(script)]
        began, pipe = time.perf_counter(), asyncio.subprocess.PIPE
        program = wheel_programs() / "pgbench"
        process = await asyncio.create_subprocess_exec(program, *arguments, self._url, stdout=pipe, stderr=pipe)
        if self._cpu is not None:
            os.sched_setaffinity(process.pid, {self._cpu})
        output, errors = await process.communicate()
        rate = _RATE.search(output.decode())
        if process.returncode or rate is None:
            raise OperatorError(f"pgbench failed: {errors.decode(errors='replace').strip()[-300:]}")
        return Repetition(nanoseconds=[int(1e9 / float(rate[1]))], seconds=time.perf_counter() - began)


def _statement(operation: str, rows: Synthetic, seed: int) -> str:
    """The statement of the baseline with literal arguments, since pgbench's own variables are numbers."""
    user = seed % rows.users
    arguments = {
        FIND_BY_ID: (f"'{rows.user_id(user)}'",),
        FIND_BY_NAME: (f"'{rows.username(user)}'",),
        RECENT: (f"'{rows.room_id(rows.read_rooms[seed % len(rows.read_rooms)])}'",),
        SEARCH: (f"'%{rows.search_text(user)}%'",),
        SEND: ("gen_random_uuid()", f"'{rows.user_id(user)}'", f"'{rows.room_id(len(rows.rooms))}'", "'by pgbench'"),
    }[operation]
    text = SQL[operation]
    for number, argument in enumerate(arguments, 1):
        text = text.replace(f"${number}", argument)
    return f"{text};\n"
