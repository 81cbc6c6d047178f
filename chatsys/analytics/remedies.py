"""Why a query could not be answered, and the command that changes it."""

from __future__ import annotations

from sqlalchemy import Connection, text

from chatsys.analytics.catalogue import Query

REFUSALS = frozenset({"42501", "42P01", "55000"})
"""SQLSTATE: insufficient privilege, undefined table, not in prerequisite state. No rows then, and a note."""
OUTDATED = frozenset({"42703", "42883"})
"""Undefined column or function: the query is of another version than what it reads."""

_EXTENSION = text("""
    SELECT e.extversion, a.default_version, n.nspname, n.nspname = ANY (current_schemas(true))
    FROM pg_extension e
    JOIN pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_available_extensions a ON a.name = e.extname
    WHERE e.extname = 'pg_stat_statements'
""")


def answers_with_note(query: Query, state: str) -> bool:
    """Whether an error of this SQLSTATE is told beside an empty frame; any other one is raised."""
    return state in REFUSALS or (state in OUTDATED and bool({"pg_stat_statements", "chat"} & set(query.needs)))


def remedy(connection: Connection, query: Query, state: str, role: str) -> str:
    """What to do about it, in words; asks the database what it has."""
    if "pg_stat_statements" in query.needs:
        return _statements(connection, state, role)
    if "chat" in query.needs:
        return _chat(connection, state, role)
    return f"{role} may not read what this needs: GRANT pg_monitor TO {role};"


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
            f"pg_stat_statements lies in the schema {schema}, where {role} does not look: "
            f'ALTER ROLE {role} SET search_path = "$user", public, {schema};'
        )
    return (
        f"pg_stat_statements is at version {version}, the server has {newest} (an upgrade of the server leaves it so): "
        "ALTER EXTENSION pg_stat_statements UPDATE;"
    )


def _chat(connection: Connection, state: str, role: str) -> str:
    if state == "42501":
        return f"{role} may not read the chat's tables: GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};"
    has_servers = connection.execute(text("SELECT to_regclass('chat_servers') IS NOT NULL")).scalar()
    if state in OUTDATED and has_servers:
        return "the chat's tables are of another version: run `chatsys db migrate`."
    return "this database has no chat tables: run `chatsys db init`."
