"""One of the two sides: its commands, its databases, and its processes in a round."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec
import psycopg
from psycopg import sql

from chatsys.database.connecting import connected
from chatsys.errors import OperatorError
from chatsys.lab.against.subject import PROTOCOL, Hello, Open, Ran, RunOrder, StoreOpened
from chatsys.lab.datasets.databases import drop_database
from chatsys.lab.provenance.clock import cpu_nanoseconds
from chatsys.lab.subjects.servers import Program, ServerProcess, chat_server
from chatsys.store.address import with_database

_PATIENCE = 120.0
"""Seconds within which a process must answer."""
_SCHEMA = """
SELECT array_agg(line ORDER BY line) FROM (
    SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default, generation_expression)
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT concat_ws(' ', relname, relkind, relpersistence, reloptions) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT concat_ws(' ', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p')
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT concat_ws(' ', viewname, definition) FROM pg_views WHERE schemaname = 'public'
) AS everything (line)
"""
_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"


class NoSubject(OperatorError):
    """The commit has no ``chatsys bench subject``, or one with another protocol version."""


class Subject:
    """A ``chatsys bench subject`` process with an open store. ``backends`` are its PostgreSQL backend processes."""

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes], label: str) -> None:
        self.process = process
        self.backends: tuple[int, ...] = ()
        self._errors = errors
        self._label = label

    def hello(self) -> None:
        """Read its first line. Raises NoSubject if the commit does not speak this protocol."""
        try:
            found = msgspec.json.decode(self._line(), type=Hello)
        except OperatorError:
            if self.process.wait(_PATIENCE) == 2:  # a usage error: the sub-command does not exist
                raise NoSubject(f"{self._label} has no `chatsys bench subject`.") from None
            raise
        if found.protocol != PROTOCOL:
            raise NoSubject(f"{self._label} uses protocol version {found.protocol} of `chatsys bench subject`.")

    def open(self, order: Open) -> None:
        """Open a store in the process. Raises OperatorError if it fails."""
        msgspec.convert(self._ask(order), StoreOpened)

    def run(self, order: RunOrder) -> Ran:
        """Perform an operation in the process. Raises OperatorError if it fails."""
        return msgspec.convert(self._ask(msgspec.structs.replace(order, watch=self.backends)), Ran)

    def _ask(self, order: Open | RunOrder) -> dict[str, Any]:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; _line reads its error output
            self.process.stdin.write(msgspec.json.encode(order) + b"\n")
            self.process.stdin.flush()
        answer: dict[str, Any] = msgspec.json.decode(self._line())
        if "error" in answer:
            raise OperatorError(f"{self._label}: {answer['error']}")
        return answer

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], _PATIENCE)
        line: bytes = self.process.stdout.readline() if ready else b""
        if not line:
            output = Path(self._errors.name).read_text("utf-8", "replace").strip().splitlines() or [
                "it printed nothing"
            ]
            raise OperatorError(f"{self._label} did not start its store: {output[-1]}")
        return line


@dataclass(kw_only=True)
class Side:
    """A commit under comparison. ``name`` is ``before`` or ``after``; messages use ``label``.

    ``unmeasured`` says why its store can't be measured; empty if it can.
    """

    name: str
    label: str
    program: Program
    server_url: str
    unmeasured: str = ""
    template: str = ""
    """The database that each round copies; empty until :meth:`set_up`."""

    def name_of(self, purpose: str) -> str:
        """The name of this side's database for a purpose."""
        return f"chatsys_lab_against_{self.name}_{purpose}"

    def database(self, purpose: str) -> str:
        """The URL of this side's database for a purpose."""
        return with_database(self.server_url, self.name_of(purpose))

    def set_up(self, order: Open) -> None:
        """Create the database that each round copies, with this side's own commands, and fill it if the side can.

        Raises OperatorError if ``chatsys db init`` fails.
        """
        self.template = self.name_of("rows")
        url = self.database("rows")
        self.copied("rows", None)
        command, environment = self.program.command("db", "init"), self.program.environment(DATABASE_URL=url)
        with tempfile.TemporaryDirectory(prefix="chatsys-side-") as folder:
            done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            output = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
            raise OperatorError(
                f"{self.label} does not start: {output[-1].removeprefix('Error: ')}",
                hint=f"Try `chatsys db init` in a checkout of {self.label}.",
            )
        try:
            with self.subject(msgspec.structs.replace(order, url=url, fill=True)):
                pass
        except NoSubject as error:
            self.unmeasured = error.message
        with connected(url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")

    def schema(self) -> list[str]:
        """The definitions of tables, indexes, constraints, functions, triggers and views in this side's database."""
        with connected(self.database("rows"), autocommit=True) as connection:
            row = connection.execute(_SCHEMA).fetchone()
        return list(row[0]) if row else []

    @contextmanager
    def subject(self, order: Open) -> Iterator[Subject]:
        """A subject with the store of ``order`` open; its process ends with the block."""
        with (
            tempfile.TemporaryDirectory(prefix="chatsys-subject-") as folder,
            Path(folder, "errors").open("w+b") as errors,
        ):
            process = subprocess.Popen(
                self.program.command("bench", "subject"),
                env=self.program.environment(),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C goes to the lab alone, which then ends its processes
            )
            try:
                found = Subject(process, errors, self.label)
                found.hello()
                found.open(order)
                yield found
            except BaseException:
                process.kill()
                raise
            finally:
                _end(process)

    def opening(self, order: Open, store: str) -> Open:
        """The order that opens a store with the rows of ``order``: memory, or a new copy of the filled database."""
        if store == "memory":
            return msgspec.structs.replace(order, url="memory://", fill=True)
        return msgspec.structs.replace(order, url=self.copied("store", self.template), fill=False)

    def copied(self, purpose: str, template: str | None) -> str:
        """The URL of a new copy of the database ``template``. None only drops the old copy."""
        name = self.name_of(purpose)
        with connected(with_database(self.server_url, "postgres"), autocommit=True) as connection:
            drop_database(connection, name)
            if template is not None:
                source = sql.Identifier(template)
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source))
        return self.database(purpose)


@dataclass(kw_only=True)
class Running:
    """The processes of one side in one round: a server, and a subject for each store if the side supports it."""

    side: Side
    server: ServerProcess
    subjects: dict[str, Subject] = field(default_factory=dict)
    backends: tuple[int, ...] = ()
    """The PostgreSQL backend processes of the server's connections."""

    def cpu(self) -> int:
        """Nanoseconds of processor time that the server and its database connections have used."""
        return cpu_nanoseconds((self.server.popen.pid, *self.backends))

    def find_backends(self, admin: psycopg.Connection[Any], local: bool) -> None:
        """Find the backend processes of the server and the subject. Call it after a warm-up has filled the pools.

        Without ``local`` the database is on another machine, and nothing is done.
        """
        if not local:
            return
        self.backends = _backends(admin, self.side, "server")
        if "postgresql" in self.subjects:
            self.subjects["postgresql"].backends = _backends(admin, self.side, "store")


@contextmanager
def running(side: Side, order: Open, stores: Iterable[str], cpu: int | None) -> Iterator[Running]:
    """A new server, and a new subject for each of ``stores``, on new copies of the side's database.

    Once they have started, all of them are pinned to the processor ``cpu``.
    """
    with ExitStack() as stack:
        served = side.copied("server", side.template)
        openings = {store: side.opening(order, store) for store in stores}
        with ThreadPoolExecutor(3) as pool:
            server = pool.submit(stack.enter_context, chat_server(served, program=side.program))
            subjects = {
                store: pool.submit(stack.enter_context, side.subject(opening)) for store, opening in openings.items()
            }
        found = Running(side=side, server=server.result())
        found.subjects = {store: subject.result() for store, subject in subjects.items()}
        for pid in (found.server.popen.pid, *(subject.process.pid for subject in found.subjects.values())):
            pin(pid, cpu)
        yield found


def pin(pid: int, cpu: int | None) -> None:
    """Pin all threads of a process to one processor. Threads that they start inherit it."""
    if cpu is not None:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), {cpu})


def _backends(admin: psycopg.Connection[Any], side: Side, purpose: str) -> tuple[int, ...]:
    return tuple(pid for (pid,) in admin.execute(_BACKENDS, (side.name_of(purpose),)))


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
