"""Which version the schema has, and which this program needs."""

from __future__ import annotations

from chatsys.errors import SchemaMissing, SchemaOutdated, SchemaTooNew
from chatsys.resources import database_dir


def known_versions() -> list[str]:
    """The versions that this program knows, oldest first. Each is the start of a migration's file name."""
    return sorted(path.stem.split("_")[0] for path in (database_dir() / "migrations" / "versions").glob("[0-9]*.py"))


def expected_version() -> str:
    """The version that this program needs."""
    return known_versions()[-1]


def check_version(found: str | None, database: str) -> None:
    """Raise SchemaMissing, SchemaOutdated or SchemaTooNew unless ``found`` is the expected version."""
    expected = expected_version()
    if found is None:
        raise SchemaMissing(f"The database {database} has no chatsys schema.", hint="Create it with `chatsys db init`.")
    if found == expected:
        return
    if found in known_versions():
        raise SchemaOutdated(found, expected, hint="Upgrade it with `chatsys db migrate`.")
    raise SchemaTooNew(found, expected, hint="Use a newer chatsys, or restore a backup of the older schema.")
