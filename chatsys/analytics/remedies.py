"""Why a query could not be answered, and the command that changes it."""

from __future__ import annotations

from sqlalchemy import Connection, text

from chatsys.analytics.catalogue import Query

REFUSALS = frozenset({"42501", "42P01", "55000"})
"""SQLSTATEs: insufficient privilege, undefined table, not in prerequisite state."""
OUTDATED = frozenset({"42703", "42883"})
"""SQLSTATEs: undefined column or function. The query and the objects that it reads have different versions."""

_EXTENSION = text("""
    SELECT e.extversion, a.default_version, n.nspname, n.nspname = ANY (current_schemas(true))
    FROM pg_extension e
    JOIN pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_available_extensions a ON a.name = e.extname
    WHERE e.extname = 'pg_stat_statements'
""")


def answers_with_note(query: Query, state: str) -> bool:
    """Whether an error with this SQLSTATE becomes a note on an empty frame. Other errors are raised."""
    return state in REFUSALS or (state in OUTDATED and bool({"pg_stat_statements", "chat"} & set(query.needs)))


def remedy(connection: Connection, query: Query, state: str, role: str) -> str:
    """A sentence that says what to do. Queries the database for what it has."""
    if "pg_stat_statements" in query.needs:
        return _statements(connection, state, role)
    if "chat" in query.needs:
        return _chat(connection, state, role)
    return f"{role} may not read what this query needs: GRANT pg_monitor TO {role};"


def _statements(connection: Connection, state: str, role: str) -> str:
    if state == "55000":
        return "add pg_stat_statements to shared_preload_libraries in postgresql.conf and restart PostgreSQL."
    if state == "42501":
        return f"{role} may not read pg_stat_statements: GRANT pg_monitor TO {role};"
    found = connection.execute(_EXTENSION).one_or_none()
    if found is None:
        return (
            "pg_stat_statements is not in this database: CREATE EXTENSION pg_stat_statements; (as a superuser, "
            "with shared_preload_libraries = 'pg_stat_statements')."
        )
    version, newest, schema, is_visible = found
    if not is_visible:
        return (
            f"pg_stat_statements is in the schema {schema}, which is not in the search_path of {role}: "
            f'ALTER ROLE {role} SET search_path = "$user", public, {schema};'
        )
    return (
        f"pg_stat_statements has version {version}, the server has {newest} (upgrading the server does not change it): "
        "ALTER EXTENSION pg_stat_statements UPDATE;"
    )


def _chat(connection: Connection, state: str, role: str) -> str:
    if state == "42501":
        return f"{role} may not read the chat's tables: GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};"
    has_servers = connection.execute(text("SELECT to_regclass('chat_servers') IS NOT NULL")).scalar()
    if state in OUTDATED and has_servers:
        return "the chat's tables have another version: run `chatsys db migrate`."
    return "this database has no chat tables: run `chatsys db init`."
