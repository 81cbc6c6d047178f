"""Queries about connections, locks and waits: what happens at this moment."""

from __future__ import annotations

from chatsys.analytics.catalogue.kinds import boolean, integer, number, query, text, time

_CLIENT = (
    integer("pid", "process id on the server; what pg_terminate_backend takes"),
    text("user_name", "role that is connected"),
    text("application_name", "name the client gave itself"),
)
_WAIT = (
    text("wait_event_type", "class of what it waits for; missing while it runs"),
    text("wait_event", "what it waits for; missing while it runs"),
)
_TRANSACTION_AT = time("transaction_started_at", "start of the open transaction; missing without one")
_TRANSACTION_MS = number("transaction_ms", "age of the open transaction")

QUERIES = (
    query(
        "connections",
        "Who is connected, from where, and is anybody stuck? Look here first when the pool is exhausted.",
        *_CLIENT,
        text("client_address", "the client's address; 'local' over a Unix socket"),
        text("state", "active, idle, idle in transaction, ..."),
        *_WAIT,
        time("connected_at", "when the connection was opened"),
        _TRANSACTION_AT,
        time("state_changed_at", "since when it is in this state"),
        number("state_age_ms", "how long it has been in this state"),
        text("query", "the statement that runs, or ran last"),
        needs=("activity",),
    ),
    query(
        "connection_summary",
        "Is max_connections near, and is DB_POOL_SIZE right? Many idle connections mean that the pool is too large.",
        text("state", "active, idle, idle in transaction, ..."),
        integer("connections", "connections in this state"),
        integer("lock_waits", "connections among them that wait for a lock"),
        number("longest_state_ms", "longest time that one of them has been in this state"),
        number("longest_transaction_ms", "age of the oldest open transaction among them"),
        number("used_ratio", "their share of max_connections"),
        needs=("activity",),
    ),
    query(
        "idle_in_transaction",
        "Which client forgot to commit? It holds locks and keeps VACUUM from cleaning.",
        *_CLIENT,
        boolean("is_aborted", "the transaction failed and waits for its ROLLBACK"),
        _TRANSACTION_AT,
        number("idle_ms", "how long the client has sent nothing"),
        _TRANSACTION_MS,
        integer("relation_locks", "locks on tables and indexes that it holds"),
        text("last_query", "the statement it ran last"),
        needs=("activity",),
    ),
    query(
        "running_queries",
        "Which statements run now, and should one be cancelled?",
        *_CLIENT,
        time("started_at", "start of the statement"),
        number("running_ms", "how long the statement has run"),
        _TRANSACTION_MS,
        *_WAIT,
        integer("blockers", "number of processes that block it"),
        text("query", "the statement"),
        needs=("activity",),
    ),
    query(
        "blocking",
        "Which process must finish, or be terminated, before others can continue?",
        integer("blocked_pid", "the process that waits"),
        text("blocked_user_name", "its role"),
        text("lock_type", "kind of lock it waits for: relation, transactionid, tuple, ..."),
        text("lock_mode", "mode that it requests"),
        text("relation_name", "table or index, when the lock is on one"),
        number("waiting_ms", "how long it has waited"),
        text("blocked_query", "the statement that waits"),
        integer("blocking_pid", "the process that blocks it; 0 is a prepared transaction"),
        text("blocking_user_name", "its role"),
        text("blocking_state", "state of the blocker, usually 'idle in transaction'"),
        number("blocking_transaction_ms", "age of the blocker's transaction"),
        text("blocking_query", "the blocker's statement, or its last one"),
        needs=("activity",),
    ),
    query(
        "locks",
        "Does a migration or a clean-up hold a lock that the chat needs?",
        text("lock_type", "relation, transactionid, tuple, advisory, ..."),
        text("relation_name", "table or index; missing for other locks"),
        text("lock_mode", "AccessShareLock to AccessExclusiveLock"),
        boolean("is_granted", "true if held, false if awaited"),
        integer("locks", "locks of this kind"),
        integer("processes", "processes that hold or await them"),
        number("longest_wait_ms", "longest wait of a process; missing when granted"),
    ),
    query(
        "wait_events",
        "What does the server wait for: locks, the disk (IO), the commit's flush (WALSync), or only the CPU?",
        text("process_type", "client backend, checkpointer, walwriter, ..."),
        text("wait_event_type", "class of the wait; 'running' waits for nothing"),
        text("wait_event", "what the processes wait for"),
        integer("processes", "processes in this state at this moment"),
        needs=("activity",),
    ),
)
