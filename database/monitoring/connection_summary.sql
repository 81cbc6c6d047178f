-- Connections by state, and their share of max_connections. The monitor's own connection is left out.
SELECT coalesce(state, 'unknown') AS state,
       count(*) AS connections,
       count(*) FILTER (WHERE wait_event_type = 'Lock') AS lock_waits,
       (max(extract(epoch FROM clock_timestamp() - state_change)) * 1000)::float8 AS longest_state_ms,
       (max(extract(epoch FROM clock_timestamp() - xact_start)) * 1000)::float8 AS longest_transaction_ms,
       count(*)::float8 / current_setting('max_connections')::int AS used_ratio
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY 1
ORDER BY connections DESC, 1;
