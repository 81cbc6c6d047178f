"""The only module that turns driver errors into errors of chatsys: by constraint name, SQLSTATE or kind of failure.

It handles exceptions of asyncpg and of psycopg. Both have ``sqlstate``, but if libpq could not open a connection, there
is only the error text.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping

from chatsys import errors
from chatsys.errors import ChatsysError, StoreError, StoreUnavailable
from chatsys.store.address import Address

CONSTRAINTS: Mapping[str, type[ChatsysError]] = {
    "users_username_key": errors.UserExists,
    "users_email_key": errors.UserExists,
    "messages_user_id_fkey": errors.UserNotFound,
    "message_reads_user_id_fkey": errors.UserNotFound,
    "message_deliveries_user_id_fkey": errors.UserNotFound,
    "room_members_user_id_fkey": errors.UserNotFound,
    "active_sessions_user_id_fkey": errors.UserNotFound,
}
"""Constraints that a verb may violate in normal operation. Violating any other is a fault: StoreError."""

_Row = tuple[type[StoreError], str, str]

SQLSTATES: Mapping[str, _Row] = {
    "28P01": (errors.AuthenticationFailed, "The database refused the password of {user}.",
              "Check user and password in DATABASE_URL; special characters must be percent-encoded."),
    "28000": (errors.AuthenticationFailed, "The database does not let {user} in: {reason}.",
              "Check the role and pg_hba.conf; if the server requires TLS, set DB_SSL=true."),
    "3D000": (errors.DatabaseMissing, "The database {database} does not exist on {host}.",
              "Create it with `chatsys db init`."),
    "42501": (errors.PermissionDenied, "The role {user} lacks a right: {reason}.",
              "As the database's owner: GRANT ALL ON SCHEMA public TO the role, or make it the owner."),
    "53100": (errors.DiskFull, "The disk of the database on {host} is full.",
              "Free some space; `chatsys db cleanup` removes old messages."),
    "53300": (errors.TooManyConnections, "The database on {host} has no free connection.",
              "Lower DB_POOL_SIZE, raise the role's CONNECTION LIMIT or max_connections, or put PgBouncer in between."),
    "57014": (errors.StatementTimeout, "A statement took longer than the statement timeout.",
              "Look with `chatsys monitor running_queries`; CHATSYS_STATEMENT_TIMEOUT raises the limit."),
    "25006": (errors.ReadOnlyDatabase, "The database on {host} is read-only or a standby.",
              "Point DATABASE_URL at the primary server."),
    "55P03": (errors.StoreUnavailable, "Another connection has locked the tables of {database}.",
              "Stop the programs that use the database, then try again."),
    "57P01": (errors.ServerShuttingDown, "The database on {host} is shutting down.", "Start it again."),
    "57P02": (errors.ServerShuttingDown, "The database on {host} is recovering from a crash.", "Wait a moment."),
    "57P03": (errors.ServerShuttingDown, "The database on {host} is starting up or shutting down.",
              "Wait a moment."),
    "57P05": (errors.StoreUnavailable, "The database closed an idle session.", "Try again."),
    "3F000": (errors.PermissionDenied, "The role {user} can't use any schema of {database}: {reason}.",
              "As the database's owner: GRANT ALL ON SCHEMA public TO the role, or make it the owner."),
    "42P01": (errors.SchemaMissing, "The database {database} lacks a table of chatsys.", "Run `chatsys db init`."),
    "42703": (errors.SchemaMissing, "A table of {database} lacks a column of chatsys.", "Run `chatsys db migrate`."),
    "42883": (errors.SchemaMissing, "The database {database} lacks a function of chatsys.",
              "Run `chatsys db migrate`."),
    "0A000": (errors.UnsupportedServer, "The database server lacks a feature: {reason}.",
              "chatsys needs PostgreSQL 14 to 18."),
}  # fmt: skip
"""SQLSTATE: error, message, hint. See https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_CLASSES: Mapping[str, str] = {"08": "57P03", "53": "53300", "57": "57P01", "40": "", "55": ""}

_WORDS: tuple[tuple[str, str], ...] = (
    (r"password authentication failed|no password supplied", "28P01"),
    (r"no pg_hba\.conf entry|role .* does not exist|authentication failed", "28000"),
    (r"database .* does not exist", "3D000"),
    (r"too many clients|remaining connection slots|too many connections", "53300"),
    (r"starting up|shutting down|in recovery mode|not yet accepting", "57P03"),
    (r"permission denied", "42501"),
)

_NO_WORDS = r"(?!)"  # matches nothing
_FAILURES: tuple[tuple[tuple[type[Exception], ...], str, _Row], ...] = (
    ((ssl.SSLError,), r"SSL|certificate",
     (errors.TlsFailed, "TLS to the database on {host} failed: {reason}.",
      "Check DB_SSL, DB_SSL_CA_CERT_PATH and sslmode in DATABASE_URL.")),
    ((socket.gaierror,), r"resolve host|translate host|Name or service",
     (errors.HostNotFound, "The database's host name {names} does not resolve.", "Check the host in DATABASE_URL.")),
    ((TimeoutError,), _NO_WORDS,
     (StoreUnavailable, "The database on {host} did not answer in time.", "Check the host, port and firewall.")),
    ((ConnectionRefusedError, FileNotFoundError), r"(?i)refused|No such file",
     (errors.ConnectionRefused, "Nothing answers at the database's address {host}.",
      "Start PostgreSQL, or leave DATABASE_URL unset for a private one.")),
    ((), r"^invalid URI query parameter",
     (errors.BadDatabaseUrl, "The database URL can't be read: {reason}.",
      "PostgreSQL's manual lists the parameters of libpq.")),
    ((PermissionError,), _NO_WORDS,
     (errors.PermissionDenied, "No permission to use the socket in {names}.", "Run as the user that owns it.")),
    ((Exception,), "", (StoreUnavailable, "The connection to the database on {host} was lost.", "Try again.")),
)  # fmt: skip
"""Failures without an SQLSTATE, known by the type of the exception or by words in it. The first that fits counts."""

_REBUILT = re.compile(r"(_cc(new|old)[0-9]*)+$")


def constraint_of(error: BaseException | None) -> tuple[str | None, bool]:
    """The constraint that ``error`` violates, and whether a copy of its index reported it.

    While ``REINDEX CONCURRENTLY`` runs, an index has a copy called ``NAME_ccnew``, later ``NAME_ccold``.
    """
    name = getattr(error, "constraint_name", None) or getattr(getattr(error, "diag", None), "constraint_name", None)
    if name is None:
        return None, False
    plain = _REBUILT.sub("", name)
    return plain, plain != name


def translated(error: BaseException, address: Address) -> ChatsysError:
    """The error of chatsys that says what ``error`` means and what to do."""
    constraint, rebuilt = constraint_of(error)
    if constraint is not None and constraint in CONSTRAINTS:
        return CONSTRAINTS[constraint]()
    if rebuilt:  # ON CONFLICT does not see the copy
        return StoreUnavailable("An index of the database is being rebuilt.", hint="Try again.")
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    reason = re.sub(r"^connection failed: .*?(FATAL|ERROR):\s*", "", reason)  # libpq's prefix of the server's message
    reason = re.sub(r"^connection failed: (connection to server .*? failed: )?", "", reason)
    by_words = (state for words, state in _WORDS if re.search(words, reason))
    sqlstate = getattr(error, "sqlstate", None) or next(by_words, None)
    if sqlstate == "42501" and "extension" in reason:
        return errors.ExtensionNotAllowed(
            f"The role {address.user or '?'} may not create the extension pg_trgm.",
            hint=f"As a superuser: CREATE EXTENSION pg_trgm, in the database {address.database}.",
        )
    if sqlstate is not None:
        unknown = StoreUnavailable if sqlstate[:2] in _CLASSES else StoreError
        row = SQLSTATES.get(sqlstate) or SQLSTATES.get(_CLASSES.get(sqlstate[:2], ""))
        kind, message, hint = row or (unknown, "The database failed: {reason}.", "See the database's log.")
    else:
        kind, message, hint = next(
            row for kinds, words, row in _FAILURES if isinstance(error, kinds) or re.search(words, reason)
        )
    fields = {
        "reason": reason.rstrip("."),
        "host": address.where,
        "names": address.host,
        "database": address.database,
        "user": address.user or "?",
    }
    return kind(message.format(**fields), hint=hint)
