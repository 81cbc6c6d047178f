-- Statements that run now, longest first. The monitor's own connection is left out.
SELECT pid,
       usename AS user_name,
       application_name,
       query_start AS started_at,
       (extract(epoch FROM clock_timestamp() - query_start) * 1000)::float8 AS running_ms,
       (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::float8 AS transaction_ms,
       wait_event_type,
       wait_event,
       cardinality(pg_blocking_pids(pid)) AS blockers,
       query
FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND backend_type = 'client backend'
  AND pid <> pg_backend_pid()
ORDER BY query_start, pid;
