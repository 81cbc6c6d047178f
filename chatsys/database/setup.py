"""Bring a database to this program's schema, whether it is missing, empty, older or the original backend's."""

from __future__ import annotations

import msgspec

from chatsys.database.admin import TABLES, count_rows, create_database, current_version, pending_versions, upgrade
from chatsys.database.connecting import connected, only_row
from chatsys.database.restore import EMPTY_PUBLIC
from chatsys.errors import DatabaseMissing, OperatorError, PermissionDenied, SchemaMissing
from chatsys.store.address import read_url
from chatsys.store.schema import expected_version

_IS_ORIGINAL = """
SELECT count(*) = 2 FROM information_schema.columns
WHERE table_schema = current_schema()
  AND (table_name, column_name) IN (('users', 'password'), ('messages', 'message_text'))
"""
_ADOPTED = ("users", "rooms", "messages")

# The tables and views in the schema where chatsys creates its own, except those of extensions.
_RELATIONS = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""
OWN = frozenset({*TABLES, "login_failures", "bus_key", "chat_epoch", "profiles_version", "alembic_version",
                 "active_users_view", "room_stats_view", "messages_with_user_view"})  # fmt: skip
"""The names of all tables and views of chatsys."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: whether the database was created, the adopted rows by table, and the schema versions."""

    created: bool
    adopted: dict[str, int]
    before: str | None
    after: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What :func:`initialise` would do: the versions it would migrate to, and the original's rows it would adopt."""

    creates: bool
    adopts: dict[str, int]
    before: str | None
    pending: tuple[str, ...]


def plan(url: str) -> Plan:
    """What :func:`initialise` would do. Changes nothing. Raises the same errors."""
    foreign_relations(url)
    try:
        before = current_version(url)
    except DatabaseMissing:
        return Plan(creates=True, adopts={}, before=None, pending=pending_versions(None))
    adopts = {} if before is not None or not is_original(url) else _counted(url)
    return Plan(creates=False, adopts=adopts, before=before, pending=pending_versions(before))


def foreign_relations(url: str) -> tuple[str, ...]:
    """Tables and views of other programs, beside which :func:`initialise` would create those of chatsys.

    Empty if the schema is already that of chatsys or of the original backend. Raises OperatorError if one of them has a
    name that chatsys needs.
    """
    try:
        found = current_version(url)
    except DatabaseMissing:
        return ()
    if (found is not None and _is_own(found)) or is_original(url):
        return ()
    with connected(url) as connection:
        names = [row[0] for row in connection.execute(_RELATIONS).fetchall()]
    taken = [name for name in names if name in OWN]
    if not taken:
        return tuple(names)
    address = read_url(url)
    raise OperatorError(
        f"The database {address.database} has tables of another program, and chatsys needs the names of "
        f"{len(taken)} of them: {', '.join(taken)}. Nothing was changed",
        hint=f"Give chatsys a database of its own: createdb --owner={address.user or 'ROLE'} chatdb, and name it in "
        "DATABASE_URL.",
    )


def initialise(url: str) -> Prepared:
    """Create the database if it is missing and bring its schema up to date. Running it again changes nothing.

    Raises PermissionDenied with the command for a superuser if the role may not create the database, and OperatorError
    if tables of other programs have names that chatsys needs.
    """
    foreign_relations(url)
    try:
        current_version(url)
    except DatabaseMissing:
        create(url)
        return _upgraded(url, created=True)
    return _upgraded(url, created=False)


def migrate(url: str) -> Prepared:
    """Bring an existing schema up to date. Raises the errors of :func:`require_schema`."""
    require_schema(url)
    return _upgraded(url, created=False)


def require_schema(url: str) -> None:
    """Raise SchemaMissing if there is neither a schema of chatsys nor the original backend's."""
    found = current_version(url)
    if (found is None or not _is_own(found)) and not is_original(url):
        foreign_relations(url)
        raise SchemaMissing(
            f"The database {read_url(url).database} has no chatsys schema.", hint="Create it with `chatsys db init`."
        )


def count_tables(url: str) -> int:
    """The number of tables in the schema ``public``. Raises DatabaseMissing."""
    with connected(url) as connection:
        return int(only_row(connection, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")[0])


def reset(url: str) -> Prepared:
    """Drop everything in the schema ``public``, in one transaction, and create the schema again."""
    with connected(url) as connection:
        connection.execute("SET LOCAL lock_timeout = '5s'")
        connection.execute(EMPTY_PUBLIC)
    return _upgraded(url, created=False)


def create(url: str) -> None:
    """Create the database. Raises PermissionDenied with the command for a superuser if the role may not."""
    try:
        create_database(url)
    except PermissionDenied as error:
        address = read_url(url)
        raise PermissionDenied(
            f"The database {address.database} does not exist, and the role {address.user or '?'} may not create it.",
            hint=f"As a superuser: createdb --owner={address.user or 'ROLE'} {address.database}",
        ) from error


def _is_own(version: str) -> bool:
    """Whether a version is one of chatsys, known or newer. Other programs that use Alembic have other versions."""
    return len(version) == len(expected_version()) and version.isdigit()


def _upgraded(url: str, *, created: bool) -> Prepared:
    original = current_version(url) is None and is_original(url)
    before, after = upgrade(url)
    return Prepared(created=created, adopted=_settle(url) if original else {}, before=before, after=after)


def is_original(url: str) -> bool:
    """Whether the database has the original backend's tables, which chatsys also has."""
    with connected(url) as connection:
        return bool(only_row(connection, _IS_ORIGINAL)[0])


def _settle(url: str) -> dict[str, int]:
    """Vacuum the row versions that the adoption left behind. Returns the number of rows by adopted table."""
    with connected(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        return count_rows(connection, _ADOPTED)


def _counted(url: str) -> dict[str, int]:
    """The number of rows in the tables that an adoption takes over."""
    with connected(url) as connection:
        return count_rows(connection, _ADOPTED)
