"""Restore a backup into a database: everything that is in it is replaced, or nothing is changed.

Both formats become one SQL script that goes to psql inside one transaction. COMMIT is sent only once the whole file
has been read without an error, so a killed process or a cut file leaves the database as it was.
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

# Drops everything in the schema public but what belongs to an extension, which a dump creates only if it is missing,
# and what goes with its table.
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

# Lines of a dump that a server older than pg_dump, or a role that does not own the extensions, would refuse.
_SKIPPED = (
    b"SET transaction_timeout = ",
    b"COMMENT ON EXTENSION ",
    b"CREATE SCHEMA public;",
    b"COMMENT ON SCHEMA public ",
)


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A finished restore: bytes of SQL that were run, and the seconds it took."""

    size: int
    seconds: float


def restore(url: str, file: Path, *, report: Report = silent) -> Restored:
    """Replace everything in the database's schema ``public`` by what ``file`` holds, in one transaction.

    ``report`` gets the bytes of the file that were read. Raises OperatorError if the file is no complete backup or a
    statement fails; nothing has changed then.
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
                return _refuse_broken(file)
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


def _refuse_broken(file: Path) -> bool:
    """False, for a custom file whose table of contents can be read."""
    command = reading_tools().command("pg_restore", "--list", str(file))
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise _unreadable(file, done.stderr)
    return False


@contextmanager
def _script(file: Path, *, plain: bool, report: Report) -> Iterator[Iterable[bytes]]:
    """The backup as lines of SQL. Raises OperatorError at the end if the custom file could not be read whole."""
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
    """The lines; reports how far their file is read, which a program that has it as its input shares."""
    whole = os.fstat(content.fileno()).st_size
    for number, line in enumerate(lines):
        if number % _LOOK_LINES == 0:
            report("", os.lseek(content.fileno(), 0, os.SEEK_CUR), whole)
        yield line
    report("Building the indexes", 0, 0)  # they come last, and are in psql's hands


def _checked(process: subprocess.Popen[bytes], errors: IO[bytes], file: Path) -> Iterator[bytes]:
    assert process.stdout is not None
    yield from _pieces(process.stdout)
    if process.wait():
        errors.seek(0)
        raise _unreadable(file, errors.read().decode(errors="replace"))


def _unreadable(file: Path, said: str) -> OperatorError:
    return OperatorError(
        f"{file} can't be read as a backup: {failure(said)}. Nothing was changed.",
        hint="Take another copy of the backup, or install the client programs that made it.",
    )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The lines, long ones in pieces: a small archive may unpack to any size."""
    return iter(lambda: file.readline(_PIECE), b"")


def _run(tools: Tools, url: str, lines: Iterable[bytes]) -> int:
    """Send the script to psql; the bytes sent. COMMIT goes last, and only if every line was there."""
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
            with suppress(BrokenPipeError):  # psql stopped at an error; what it wrote says which
                psql.stdin.write(b"BEGIN;\nSET LOCAL statement_timeout = 0;\n" + EMPTY_PUBLIC)
                for line in _portable(lines):
                    size += psql.stdin.write(line)
                psql.stdin.write(b"COMMIT;\n")
                complete = True
        except BaseException:
            psql.kill()  # before its input ends, which it could take for the end of the script
            raise
        finally:
            with suppress(BrokenPipeError):
                psql.stdin.close()
        if psql.wait():
            errors.seek(0)
            said = errors.read().decode(errors="replace")
            if complete and "ERROR" not in said:  # the connection ended after COMMIT was sent
                raise OperatorError(
                    f"It is not known whether the restore was done: {failure(said)}.",
                    hint="See what is there with `chatsys db status`, then restore again.",
                )
            raise OperatorError(
                f"The restore failed and nothing was changed: {failure(said)}.",
                hint="The role must own the tables that are replaced.",
            )
    return size


def _portable(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The script without the lines that not every server takes. Rows of COPY pass untouched.

    Raises OperatorError for what no dump of a database has and psql would obey: its own commands, which reach the
    machine's shell, programs run by COPY, and statements that end the transaction.
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
"""What newer dumps say to psql about themselves: that no other command of psql follows, which is seen to here."""

_TOKEN = re.compile(
    rb"""(?P<word>[A-Za-z_\x80-\xff][\w\x80-\xff$]*'?)|(?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)"""
    rb"""|(?P<quote>['"])|(?P<comment>--[^\n]*)|(?P<block>/\*)|(?P<end>;)|(?P<command>\\)|(?P<number>\d[\w]*)|(?P<other>[^\s])"""
)
_CLOSING = {b"E'": re.compile(rb"(?:[^'\\]|\\.|'')*'(?!')", re.DOTALL)}
_ENDS_TRANSACTION = (b"COMMIT", b"END", b"ROLLBACK", b"ABORT", b"BEGIN", b"START", b"PREPARE", b"SAVEPOINT", b"RELEASE")


class _Plain:
    """Where psql is in a script that has no COPY rows: within which quotes, if any."""

    def __init__(self) -> None:
        self.between_statements = True
        self._within: bytes | None = None
        self._nested = 0
        self._statement: list[bytes] = []

    def read(self, text: bytes) -> None:
        """Go on by a line, or a part of a long one."""
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
            raise _forbidden("a backslash before a quote")  # what it means depends on a setting
        if found is None:
            return len(text)
        self._within = None
        return found.end()

    def _outside(self, text: bytes, position: int) -> int:
        found = _TOKEN.search(text, position)
        if found is None:
            return len(text)
        kind, said = found.lastgroup, found[0]
        if kind == "command":
            raise _forbidden("a command of psql")
        if kind == "end":
            self._statement, self.between_statements = [], True
            return found.end()
        if kind == "comment":
            return found.end()
        self.between_statements = False
        if kind == "word" and said.endswith(b"'"):
            self._within = b"E'" if said.upper() == b"E'" else b"'"
        elif kind in ("dollar", "quote"):
            self._within = said
        elif kind == "block":
            self._within, self._nested = said, 1
        if kind == "word" and len(self._statement) < 100:
            self._statement.append(said.upper())
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
        f"The backup has {what} in it, which no backup of a database has. Nothing was changed.",
        hint="Do not trust this file.",
    )
