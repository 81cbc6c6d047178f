"""Apply every rule to a database: the findings, and the rules that could not be applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from chatsys.analytics import sql
from chatsys.analytics.doctor.rules import LIMITS, RULES, Harm, Rule
from chatsys.analytics.monitor import Monitor
from chatsys.analytics.source import is_local, sqlstate
from chatsys.store.schema import expected_version

_CHAT = text("SELECT to_regclass('chat_servers') IS NOT NULL AND to_regclass('alembic_version') IS NOT NULL")
_SEES_ALL = text("SELECT pg_has_role(current_user, 'pg_monitor', 'USAGE'), current_user::text")
_LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '1s'")  # a waiting query would make others queue behind it
_SKIPPED = frozenset({"42P01", "42703", "42883", "55000", "42501", "55P03", "57014"})
"""SQLSTATEs that skip only one rule: no such object, no privilege, a lock, or the monitor's time limit."""


@dataclass(frozen=True)
class Finding:
    """One problem: the rule, the object that has it, the evidence, and the command that fixes it."""

    rule: Rule
    object: str
    evidence: str
    command: str


@dataclass
class Diagnosis:
    """The findings, the worst first; the skipped rules with the reason; and the number of applied rules."""

    database: str
    findings: list[Finding] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    applied: int = 0

    @property
    def is_well(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


RIGHTS = Rule(
    "rights", Harm.care, "The sessions, statements and settings of other roles are hidden, and so are their problems.",
    "https://www.postgresql.org/docs/current/predefined-roles.html",
)  # fmt: skip
"""Found for a role that may not see everything, in addition to the rules of the table."""


def examine(monitor: Monitor, limits: Mapping[str, float] | None = None) -> Diagnosis:
    """Apply every rule that fits this database, each in its own read-only transaction. ``limits`` override LIMITS.

    Raises UnsupportedServer, and the StoreError that says why the database did not answer.
    """
    values = {
        **LIMITS,
        "memory_bytes": psutil.virtual_memory().total if is_local(monitor.address) else 0,  # 0: unknown
        "version": int(expected_version()),
        **(limits or {}),
    }
    version = monitor.version()
    with monitor.reading() as connection:
        is_chat = bool(connection.execute(_CHAT).scalar())
        sees_all, role = connection.execute(_SEES_ALL).one()
    found = Diagnosis(f"{monitor.address.database} on {monitor.address.where}")
    if not sees_all:
        found.findings.append(
            Finding(RIGHTS, role, f"{role} is not a member of pg_monitor", f"GRANT pg_monitor TO {role};")
        )
    for rule in RULES:
        if rule.needs_chat and not is_chat:
            continue
        found.applied += 1
        statement = sql.written(sql.statement(rule.code, version, sql.DOCTOR), values)
        with monitor.reading() as connection:
            try:
                found.findings += _apply(connection, rule, statement)
            except DBAPIError as error:
                if sqlstate(error) not in _SKIPPED:
                    raise
                found.skipped[rule.code] = str(error.orig).strip().splitlines()[0]
    found.findings.sort(key=lambda each: each.rule.harm)
    return found


def _apply(connection: Connection, rule: Rule, statement: str) -> list[Finding]:
    connection.execute(_LOCK_TIMEOUT)
    return [Finding(rule, str(row[0]), str(row[1]), str(row[2])) for row in connection.execute(text(statement))]
