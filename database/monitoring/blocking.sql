-- Which process waits for which: one row for each pair of a waiting process and a process that blocks it.
SELECT blocked.pid AS blocked_pid,
       blocked.usename AS blocked_user_name,
       waiting.locktype AS lock_type,
       waiting.mode AS lock_mode,
       waiting.relation::regclass::text AS relation_name,
       (extract(epoch FROM clock_timestamp() - coalesce(waiting.waitstart, blocked.query_start)) * 1000)::float8
           AS waiting_ms,
       blocked.query AS blocked_query,
       blocker.pid AS blocking_pid,
       blocker.usename AS blocking_user_name,
       blocker.state AS blocking_state,
       (extract(epoch FROM clock_timestamp() - blocker.xact_start) * 1000)::float8 AS blocking_transaction_ms,
       blocker.query AS blocking_query
FROM pg_stat_activity blocked
CROSS JOIN LATERAL unnest(pg_blocking_pids(blocked.pid)) AS by(pid)
LEFT JOIN pg_stat_activity blocker ON blocker.pid = by.pid
LEFT JOIN LATERAL (
    SELECT l.locktype, l.mode, l.relation, l.waitstart
    FROM pg_locks l
    WHERE l.pid = blocked.pid AND NOT l.granted
    LIMIT 1
) waiting ON true
WHERE blocked.datname = current_database()
ORDER BY waiting_ms DESC NULLS LAST, blocked_pid, blocking_pid;
