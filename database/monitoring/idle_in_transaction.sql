-- Connections that keep a transaction open and do nothing: they hold locks and keep VACUUM from removing dead rows.
SELECT a.pid,
       a.usename AS user_name,
       a.application_name,
       a.state = 'idle in transaction (aborted)' AS is_aborted,
       a.xact_start AS transaction_started_at,
       (extract(epoch FROM clock_timestamp() - a.state_change) * 1000)::float8 AS idle_ms,
       (extract(epoch FROM clock_timestamp() - a.xact_start) * 1000)::float8 AS transaction_ms,
       (SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'relation') AS relation_locks,
       a.query AS last_query
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.state LIKE 'idle in transaction%' AND a.pid <> pg_backend_pid()
ORDER BY a.state_change, a.pid;
