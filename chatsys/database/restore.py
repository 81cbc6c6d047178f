"""Restore a backup into a database: everything in it is replaced, or nothing is changed.

Both formats become one SQL script, which psql runs in one transaction. COMMIT is sent only after the whole file was
read without an error, so a killed process or a truncated file leaves the database as it was.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from chatsys.database.connecting import connected
from chatsys.database.progress import Report, silent
from chatsys.database.tools import Tools, environment, failure, reading_tools, running_tools
from chatsys.errors import OperatorError
from chatsys.store.address import read_url

_CUSTOM_MAGIC = b"PGDMP"
_PLAIN_END = b"-- PostgreSQL database dump complete"
_TAIL = 4096
_PIECE = 1 << 20
_LOOK_LINES = 1_000

# Drops everything in the schema public, except objects of extensions (a dump creates an extension only if it is
# missing) and objects that are dropped with their table.
EMPTY_PUBLIC = b"""
DO $$
DECLARE
    commands text[] := array(
        SELECT format('DROP %s IF EXISTS %s CASCADE', kind, name)
        FROM (
            SELECT 'pg_class'::regclass AS catalog, c.oid, c.oid::regclass::text AS name, c.relnamespace AS schema,
                   CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'TABLE' WHEN 'v' THEN 'VIEW'
                       WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
                   END AS kind
            FROM pg_class c
            UNION ALL
            SELECT 'pg_proc'::regclass, p.oid, p.oid::regprocedure::text, p.pronamespace, 'ROUTINE' FROM pg_proc p
            UNION ALL
            SELECT 'pg_type'::regclass, t.oid, t.oid::regtype::text, t.typnamespace, 'TYPE'
            FROM pg_type t WHERE t.typtype IN ('d', 'e')
        ) object
        WHERE schema = 'public'::regnamespace AND kind IS NOT NULL
          AND NOT EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = object.catalog AND d.objid = object.oid AND d.deptype IN ('e', 'i', 'a'))
    );
    command text;
BEGIN
    FOREACH command IN ARRAY commands LOOP
        EXECUTE command;
    END LOOP;
END
$$;
"""

# Lines of a dump that fail on a server older than pg_dump, or for a role that does not own the extensions.
_SKIPPED = (b"SET transaction_timeout = ", b"COMMENT ON EXTENSION ",
            b"CREATE SCHEMA public;", b"COMMENT ON SCHEMA public ")  # fmt: skip


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A finished restore: the bytes of SQL that ran, and the seconds it took."""

    size: int
    seconds: float


def restore(url: str, file: Path, *, report: Report = silent) -> Restored:
    """Replace everything in the database's schema ``public`` with the content of ``file``, in one transaction.

    ``report`` gets the number of bytes read. Raises OperatorError if the file is not a complete backup or a statement
    fails; then nothing has changed.
    """
    started = time.monotonic()
    plain = check(file)
    with connected(url):
        runner = running_tools(read_url(url))
    with _script(file, plain=plain, report=report) as lines:
        size = _run(runner, url, lines)
    return Restored(size=size, seconds=time.monotonic() - started)


def check(file: Path) -> bool:
    """True for a plain file, false for a custom one. Raises OperatorError for anything else."""
    try:
        with file.open("rb") as content:
            if content.read(len(_CUSTOM_MAGIC)) == _CUSTOM_MAGIC:
                _refuse_broken(file)
                return False
            content.seek(max(0, file.stat().st_size - _TAIL))
            complete = _PLAIN_END in content.read()
    except OSError as error:
        raise OperatorError(f"{file} can't be read: {error.strerror}.", hint="Check the file's name.") from error
    if not complete:
        raise OperatorError(
            f"{file} is not a complete backup: it is neither pg_dump's custom format nor plain SQL with pg_dump's "
            "closing line.",
            hint="Take another copy of the backup.",
        )
    return True


def _refuse_broken(file: Path) -> None:
    """Raise OperatorError unless the table of contents of a custom file can be read."""
    command = reading_tools().command("pg_restore", "--list", str(file))
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise _unreadable(file, done.stderr)


@contextmanager
def _script(file: Path, *, plain: bool, report: Report) -> Iterator[Iterable[bytes]]:
    """The backup as lines of SQL. Raises OperatorError at the end if a custom file could not be read completely."""
    with file.open("rb") as content:
        if plain:
            yield _reported(_pieces(content), content, report)
            return
        command = reading_tools().command("pg_restore", "--no-owner", "--no-privileges", "--file=-")
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(command, stdin=content, stdout=subprocess.PIPE, stderr=errors) as process,
        ):
            yield _reported(_checked(process, errors, file), content, report)


def _reported(lines: Iterable[bytes], content: IO[bytes], report: Report) -> Iterator[bytes]:
    """The same lines. Reports the position in the file, which a program that reads it as its input shares."""
    whole = os.fstat(content.fileno()).st_size
    for number, line in enumerate(lines):
        if number % _LOOK_LINES == 0:
            report("", os.lseek(content.fileno(), 0, os.SEEK_CUR), whole)
        yield line
    report("Building the indexes", 0, 0)  # they come last, and psql is still busy with them


def _checked(process: subprocess.Popen[bytes], errors: IO[bytes], file: Path) -> Iterator[bytes]:
    assert process.stdout is not None
    yield from _pieces(process.stdout)
    if process.wait():
        errors.seek(0)
        raise _unreadable(file, errors.read().decode(errors="replace"))


def _unreadable(file: Path, output: str) -> OperatorError:
    return OperatorError(
        f"{file} can't be read as a backup: {failure(output)}. Nothing was changed.",
        hint="Take another copy of the backup, or install the client programs that made it.",
    )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The lines. Long ones come in pieces, because a small archive may unpack to any size."""
    return iter(lambda: file.readline(_PIECE), b"")


def _run(tools: Tools, url: str, lines: Iterable[bytes]) -> int:
    """Send the script to psql. Returns the bytes sent. COMMIT comes last, and only if every line was read."""
    command = tools.command("psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--file=-")
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, env=environment(url), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
        ) as psql,
    ):
        assert psql.stdin is not None
        size, complete = 0, False
        try:
            with suppress(BrokenPipeError):  # psql stopped at an error, which it has printed
                psql.stdin.write(b"BEGIN;\nSET LOCAL statement_timeout = 0;\n" + EMPTY_PUBLIC)
                for line in _portable(lines):
                    size += psql.stdin.write(line)
                psql.stdin.write(b"COMMIT;\n")
                complete = True
        except BaseException:
            psql.kill()  # before its input ends, which psql could take for the end of the script
            raise
        finally:
            with suppress(BrokenPipeError):
                psql.stdin.close()
        if psql.wait():
            errors.seek(0)
            output = errors.read().decode(errors="replace")
            if complete and "ERROR" not in output:  # the connection ended after COMMIT was sent
                raise OperatorError(
                    f"It is not known whether the restore was done: {failure(output)}.",
                    hint="See what is there with `chatsys db status`, then restore again.",
                )
            raise OperatorError(
                f"The restore failed and nothing was changed: {failure(output)}.",
                hint="The role must own the tables that are replaced.",
            )
    return size


def _portable(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The script without the lines that fail on some servers. Rows of COPY pass unchanged.

    Raises OperatorError for what no dump of a database contains but psql would execute: psql's own commands, which
    reach the machine's shell, programs run by COPY, and statements that end the transaction.
    """
    copying, begins, state = False, True, _Plain()
    for line in lines:
        ready = begins and state.between_statements
        if copying:
            copying = not begins or line.rstrip(b"\r\n") != b"\\."
        elif ready and (line.startswith(_SKIPPED) or _GUARD.match(line)):
            continue
        elif ready and _COPY.match(line):
            copying = True
        elif len(line) == _PIECE:
            raise _forbidden("a line that is too long")
        else:
            state.read(line)
        begins = line.endswith(b"\n")
        yield line


_COPY = re.compile(rb"COPY [^;'$]* FROM stdin;\s*$")
_GUARD = re.compile(rb"\\(un)?restrict \w+\s*$")
"""The lines with which newer dumps keep psql from running its own commands, which this module refuses anyway."""

_TOKEN = re.compile(
    rb"""(?P<word>[A-Za-z_\x80-\xff][\w\x80-\xff$]*'?)|(?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)"""
    rb"""|(?P<quote>['"])|(?P<comment>--[^\n]*)|(?P<block>/\*)|(?P<end>;)|(?P<command>\\)|(?P<number>\d[\w]*)|(?P<other>[^\s])"""
)
_CLOSING = {b"E'": re.compile(rb"(?:[^'\\]|\\.|'')*'(?!')", re.DOTALL)}
_ENDS_TRANSACTION = (b"COMMIT", b"END", b"ROLLBACK", b"ABORT", b"BEGIN", b"START", b"PREPARE", b"SAVEPOINT", b"RELEASE")


class _Plain:
    """The state of psql's scanner in a script without COPY rows: inside which quotes or comment it is, if any."""

    def __init__(self) -> None:
        self.between_statements = True
        self._within: bytes | None = None
        self._nested = 0
        self._statement: list[bytes] = []

    def read(self, text: bytes) -> None:
        """Scan a line, or a part of a long one."""
        position = 0
        while position < len(text):
            position = self._inside(text, position) if self._within is not None else self._outside(text, position)

    def _inside(self, text: bytes, position: int) -> int:
        within = self._within
        assert within is not None
        if within == b"/*":
            found = re.compile(rb"/\*|\*/").search(text, position)
            if found is None:
                return len(text)
            self._nested += 1 if found[0] == b"/*" else -1
            if not self._nested:
                self._within = None
            return found.end()
        found = _CLOSING.get(within, re.compile(b".*?" + re.escape(within), re.DOTALL)).match(text, position)
        if within == b"'" and b"\\'" in (found[0] if found is not None else text[position:]):
            raise _forbidden("a backslash before a quote")  # its meaning depends on a setting
        if found is None:
            return len(text)
        self._within = None
        return found.end()

    def _outside(self, text: bytes, position: int) -> int:
        found = _TOKEN.search(text, position)
        if found is None:
            return len(text)
        kind, token = found.lastgroup, found[0]
        if kind == "command":
            raise _forbidden("a command of psql")
        if kind == "end":
            self._statement, self.between_statements = [], True
            return found.end()
        if kind == "comment":
            return found.end()
        self.between_statements = False
        if kind == "word" and token.endswith(b"'"):
            self._within = b"E'" if token.upper() == b"E'" else b"'"
        elif kind in ("dollar", "quote"):
            self._within = token
        elif kind == "block":
            self._within, self._nested = token, 1
        if kind == "word" and len(self._statement) < 100:
            self._statement.append(token.upper())
            self._judge()
        return found.end()

    def _judge(self) -> None:
        words = self._statement
        if len(words) == 1 and words[0] in _ENDS_TRANSACTION:
            raise _forbidden(f"{words[0].decode()}, which would end the transaction")
        if words[0] == b"COPY" and words[-1] == b"PROGRAM":
            raise _forbidden("a program to run")


def _forbidden(what: str) -> OperatorError:
    return OperatorError(
        f"The file contains {what}, which no backup of a database contains. Nothing was changed.",
        hint="Do not trust this file.",
    )
