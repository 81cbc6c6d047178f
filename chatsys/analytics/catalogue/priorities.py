"""The most important columns, which a narrow terminal shows first. The others follow in their declared order."""

from __future__ import annotations

PRIORITIES: dict[str, tuple[str, ...]] = {
    "connections": ("pid", "state", "state_age_ms", "wait_event", "query", "application_name", "user_name"),
    "table_sizes": ("table_name", "size_bytes", "rows_estimate", "indexes_bytes", "heap_bytes", "row_bytes"),
    "connection_summary": ("state", "connections", "lock_waits", "used_ratio", "longest_transaction_ms"),
    "idle_in_transaction": ("pid", "idle_ms", "transaction_ms", "last_query", "relation_locks", "application_name"),
    "running_queries": ("pid", "running_ms", "query", "blockers", "wait_event", "application_name", "transaction_ms"),
    "blocking": ("blocked_pid", "waiting_ms", "blocking_pid", "blocking_state", "relation_name", "blocking_query",
                 "blocked_query", "lock_mode"),
    "locks": ("relation_name", "lock_mode", "is_granted", "locks", "longest_wait_ms", "lock_type"),
    "wait_events": ("wait_event_type", "wait_event", "processes", "process_type"),
    "cache_hit": ("table_name", "heap_hit_ratio", "index_hit_ratio", "heap_reads_total", "index_reads_total"),
    "index_usage": ("index_name", "scans_total", "size_bytes", "table_name", "is_unique", "last_used_at"),
    "unused_indexes": ("index_name", "size_bytes", "serves_foreign_key", "table_name", "counting_since"),
    "seq_scans": ("table_name", "sequential_scans_total", "rows_per_scan", "heap_bytes", "sequential_ratio"),
    "dead_tuples": ("table_name", "dead_rows", "dead_ratio", "is_vacuum_due", "live_rows", "last_vacuum_at"),
    "table_activity": ("table_name", "rows_inserted_total", "rows_updated_total", "rows_deleted_total",
                       "rows_hot_updated_total", "sequential_rows_total"),
    "io": ("process_type", "object", "reads_total", "writes_total", "read_bytes_total", "written_bytes_total",
           "context"),
    "slow_queries": ("time_ratio", "calls_total", "mean_exec_ms", "query", "max_exec_ms", "exec_ms_total"),
    "query_calls": ("calls_total", "calls_per_second", "mean_exec_ms", "query", "rows_per_call"),
    "settings": ("name", "value", "unit", "default_value", "is_restart_pending", "source"),
    "active_users": ("username", "sessions", "rooms", "idle_ms", "is_guest", "status"),
    "room_stats": ("room_name", "messages", "members", "active_users", "last_message_at", "removed_messages"),
    "messages_per_minute": ("minute", "messages", "senders", "rooms", "messages_per_second"),
    "busiest_rooms": ("room_name", "messages", "share_ratio", "senders", "messages_per_second", "last_message_at"),
    "read_lag": ("lag_ms", "room_name", "seq", "sent_at", "read_at", "user_id"),
    "delivery_lag": ("lag_ms", "room_name", "seq", "sent_at", "delivered_at", "user_id"),
    "retention_candidates": ("room_name", "messages", "estimated_bytes", "oldest_at", "newest_at"),
    "sessions": ("username", "room_name", "idle_ms", "is_server_alive", "age_ms", "is_guest", "socket_id"),
    "orphans": ("kind", "name", "since", "object_id"),
}  # fmt: skip
"""Query -> its columns, the most important first. A query of one row is shown whole."""

WORST: dict[str, str] = {
    "connections": "state_age_ms",
    "running_queries": "running_ms",
    "read_lag": "lag_ms",
    "delivery_lag": "lag_ms",
    "messages_per_minute": "messages",
    "growth": "new_messages",
    "sessions": "idle_ms",
    "active_users": "idle_ms",
    "blocking": "waiting_ms",
}
"""Query -> the column whose largest values matter most. The other queries return their worst rows first."""


def ordered(query: str, columns: list[str]) -> list[str]:
    """The columns by importance."""
    first = [name for name in PRIORITIES.get(query, ()) if name in columns]
    return [*first, *(name for name in columns if name not in first)]
