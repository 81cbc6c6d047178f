"""The doctor's rules as one table: what each looks for, what harm that does, and the source.

A rule's SQL is ``database/doctor/<code>.sql``. Each row that it returns is a problem: the object, the evidence and the
command that fixes it. ``LIMITS`` has the thresholds, by the names of the SQL's parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

_DOCS = "https://www.postgresql.org/docs/current/"
_DAY = 86_400


class Harm(IntEnum):
    """What a problem leads to; lower numbers are shown first."""

    data = 1
    outage = 2
    slow = 3
    care = 4

    @property
    def words(self) -> str:
        """The heading of these problems."""
        return {1: "Data at risk", 2: "Outage ahead", 3: "Slower than necessary", 4: "To take care of"}[int(self)]


@dataclass(frozen=True)
class Rule:
    """One problem to look for. ``why`` is what happens if nobody acts; ``needs_chat``: it reads chatsys's tables."""

    code: str
    harm: Harm
    why: str
    source: str
    needs_chat: bool = False


RULES: tuple[Rule, ...] = (
    Rule("durability", Harm.data, "A crash of the machine can corrupt the database or lose what was committed.",
         _DOCS + "runtime-config-wal.html"),
    Rule("wraparound", Harm.data,
         "When transaction numbers run out, PostgreSQL refuses every write until it is vacuumed.",
         _DOCS + "routine-vacuuming.html#VACUUM-FOR-WRAPAROUND"),
    Rule("asynchronous_commit", Harm.data, "A crash loses the newest messages, although clients know them as stored.",
         _DOCS + "wal-async-commit.html"),
    Rule("connections", Harm.outage, "At the limit, PostgreSQL refuses the next client: too many clients already.",
         _DOCS + "runtime-config-connection.html"),
    Rule("blocked", Harm.outage, "A session that waits for a lock holds other locks, for which others wait.",
         _DOCS + "view-pg-locks.html"),
    Rule("long_transactions", Harm.outage,
         "It holds its locks, and VACUUM cannot remove rows that died since it began.",
         _DOCS + "routine-vacuuming.html"),
    Rule("prepared_transactions", Harm.outage,
         "It holds its locks across restarts, and VACUUM cannot remove rows that died since it began.",
         _DOCS + "sql-prepare-transaction.html"),
    Rule("replication_slots", Harm.outage, "The WAL that the slot keeps fills the disk, and the server stops.",
         _DOCS + "warm-standby.html#STREAMING-REPLICATION-SLOTS"),
    Rule("replication_lag", Harm.outage,
         "A promotion would lose what the standby does not have yet, and queries on the standby read old rows.",
         _DOCS + "monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW"),
    Rule("work_memory", Harm.outage, "When the machine's memory is used up, the kernel kills the database.",
         _DOCS + "runtime-config-resource.html#GUC-WORK-MEM"),
    Rule("autovacuum_off", Harm.outage, "Tables grow without limit, plans get worse, and wraparound comes nearer.",
         _DOCS + "routine-vacuuming.html#AUTOVACUUM"),
    Rule("dead_rows", Harm.slow, "Each scan reads the dead rows too, and the table does not shrink by itself.",
         _DOCS + "routine-vacuuming.html#VACUUM-FOR-SPACE-RECOVERY"),
    Rule("bloat", Harm.slow, "Empty space uses disk and cache and slows down scans; new rows fill it slowly.",
         "https://wiki.postgresql.org/wiki/Show_database_bloat"),
    Rule("missing_indexes", Harm.slow, "The cost of each scan grows with the table.", _DOCS + "monitoring-stats.html"),
    Rule("unindexed_foreign_keys", Harm.slow, "Deleting one parent row reads the whole table, under a lock.",
         _DOCS + "ddl-constraints.html#DDL-CONSTRAINTS-FK"),
    Rule("slow_statements", Harm.slow, "Users wait for this statement, and it takes much of the server's time.",
         _DOCS + "pgstatstatements.html"),
    Rule("buffers", Harm.slow, "Blocks that do not stay in memory are read again and again.",
         _DOCS + "runtime-config-resource.html#GUC-SHARED-BUFFERS"),
    Rule("cache", Harm.slow, "Reads go to the operating system or the disk.",
         _DOCS + "monitoring-stats.html#MONITORING-PG-STAT-DATABASE-VIEW"),
    Rule("checkpoints", Harm.slow, "More full pages go to the WAL, and writes come in bursts.",
         _DOCS + "wal-configuration.html"),
    Rule("stale_statistics", Harm.slow, "The planner knows an older table and chooses plans that do not fit.",
         _DOCS + "routine-vacuuming.html#VACUUM-FOR-STATISTICS"),
    Rule("invalid_indexes", Harm.care, "Each write still maintains the index, but no query uses it.",
         _DOCS + "sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY"),
    Rule("duplicate_indexes", Harm.care, "Each write maintains both indexes, but one is enough.",
         _DOCS + "indexes-examine.html"),
    Rule("unused_indexes", Harm.care, "Each write maintains the index, and it uses disk and cache.",
         _DOCS + "monitoring-stats.html#MONITORING-PG-STAT-ALL-INDEXES-VIEW"),
    Rule("statement_statistics", Harm.care, "Nobody can tell which statements cost the most.",
         _DOCS + "pgstatstatements.html"),
    Rule("pending_restart", Harm.care, "The next restart changes the setting, perhaps at a bad time.",
         _DOCS + "view-pg-settings.html"),
    Rule("schema_version", Harm.outage, "A chat server upgrades an older schema at its start, and refuses a newer one.",
         "docs/DATABASE_SETUP.md", needs_chat=True),
    Rule("large_rooms", Harm.slow, "For each message, the servers send a frame to each member.",
         "docs/REALTIME.md", needs_chat=True),
    Rule("orphans", Harm.care, "Users who have left still appear online.", "docs/REALTIME.md", needs_chat=True),
    Rule("retention", Harm.care, "The disk fills up, and backups and restores take longer.",
         "docs/DATABASE_SETUP.md#clean-up", needs_chat=True),
)  # fmt: skip
"""Every rule. A test provokes each, on the oldest and the newest PostgreSQL at hand."""

LIMITS: dict[str, float] = {
    "wraparound_factor": 1.5,  # times autovacuum_freeze_max_age: autovacuum does not keep up
    "connections_ratio": 0.8,
    "blocked_seconds": 10,
    "transaction_seconds": 300,
    "slot_bytes": 1 << 30,
    "lag_bytes": 100 << 20,
    "large_database_bytes": 1 << 30,
    "work_memory_factor": 4,  # not every connection sorts at once
    "scans": 100,
    "scanned_rows": 10_000,
    "unused_seconds": 7 * _DAY,
    "index_bytes": 10 << 20,
    "dead_rows": 10_000,
    "dead_ratio": 0.25,  # autovacuum begins at 0.2
    "bloat_bytes": 100 << 20,
    "bloat_ratio": 0.5,
    "slow_calls": 20,
    "slow_ms": 100,
    "slow_share": 0.1,
    "read_blocks": 100_000,
    "hit_ratio": 0.95,
    "requested_checkpoints": 10,
    "orphan_seconds": 300,
    "old_messages": 100_000,
    "room_sessions": 1_000,
    "room_messages": 1_000_000,
}
"""The thresholds of the rules in seconds, bytes, rows, milliseconds or shares, as the names say."""
