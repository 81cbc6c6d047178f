"""The fingerprint of a database: a row count and a checksum for each table. Equal content has equal fingerprints."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from psycopg import sql

from chatsys.database.connecting import only_row
from chatsys.database.progress import Report, silent

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""

# The sum of the rows' hashes does not depend on their order, and its memory does not grow with their number.
_TABLE = """
SELECT count(*), coalesce(sum(('x' || left(md5(whole::text), 16))::bit(64)::bigint::numeric), 0)::text
FROM {table} AS whole
"""


class TableFingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """The number of rows of a table, and a checksum over all of their columns."""

    table: str
    rows: int
    checksum: str


def fingerprint(connection: psycopg.Connection[Any], report: Report = silent) -> tuple[TableFingerprint, ...]:
    """The fingerprints of all ordinary tables, by name. Equal rows give equal fingerprints on all servers.

    Run it in a REPEATABLE READ transaction to get the state of one moment.
    """
    # The text of a row depends on these settings; with them fixed it depends on the row alone.
    for setting in ("SET LOCAL TimeZone = 'UTC'", "SET LOCAL DateStyle = 'ISO'", "SET LOCAL bytea_output = 'hex'"):
        connection.execute(setting)
    connection.execute("SET LOCAL statement_timeout = 0")
    found = []
    names = [name for (name,) in connection.execute(_TABLES).fetchall()]
    for number, name in enumerate(names):
        report("Taking checksums", number, len(names))
        rows, checksum = only_row(connection, sql.SQL(_TABLE).format(table=sql.SQL(name)))
        found.append(TableFingerprint(table=name, rows=rows, checksum=checksum))
    return tuple(found)


def differences(expected: tuple[TableFingerprint, ...], found: tuple[TableFingerprint, ...]) -> list[str]:
    """A sentence for each table that is not the same on both sides."""
    ours = {one.table: one for one in expected}
    theirs = {one.table: one for one in found}
    sentences = []
    for table in sorted(ours.keys() | theirs.keys()):
        left, right = ours.get(table), theirs.get(table)
        if left is None or right is None:
            sentences.append(f"{table} is on one side only.")
        elif left.rows != right.rows:
            sentences.append(f"{table} has {left.rows} rows on one side and {right.rows} on the other.")
        elif left.checksum != right.checksum:
            sentences.append(f"{table} has the same number of rows, but not the same content.")
    return sentences
