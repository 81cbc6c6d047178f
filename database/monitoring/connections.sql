-- Client connections to this database, oldest state first. The monitor's own connection is left out.
SELECT pid,
       usename AS user_name,
       application_name,
       coalesce(host(client_addr), 'local') AS client_address,
       state,
       wait_event_type,
       wait_event,
       backend_start AS connected_at,
       xact_start AS transaction_started_at,
       state_change AS state_changed_at,
       (extract(epoch FROM clock_timestamp() - state_change) * 1000)::float8 AS state_age_ms,
       query
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
ORDER BY state_change, pid;
