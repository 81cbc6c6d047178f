-- The current state of this database in one row, cheap enough to run often. The monitor's own connection is left out.
SELECT a.connections,
       a.active,
       a.idle_in_transaction,
       a.lock_waits,
       a.longest_transaction_ms,
       d.xact_commit AS commits_total,
       d.xact_rollback AS rollbacks_total,
       d.tup_inserted AS rows_inserted_total,
       d.tup_updated AS rows_updated_total,
       d.tup_deleted AS rows_deleted_total,
       d.blks_hit AS buffer_hits_total,
       d.blks_read AS buffer_reads_total,
       d.temp_bytes AS temporary_bytes_total,
       d.deadlocks AS deadlocks_total,
       w.wal_bytes::bigint AS wal_bytes_total,
       pg_database_size(current_database()) AS size_bytes
FROM pg_stat_database d
CROSS JOIN pg_stat_wal w
CROSS JOIN (
    SELECT count(*) AS connections,
           count(*) FILTER (WHERE state = 'active') AS active,
           count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction,
           count(*) FILTER (WHERE wait_event_type = 'Lock') AS lock_waits,
           (max(extract(epoch FROM clock_timestamp() - xact_start)) * 1000)::float8 AS longest_transaction_ms
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
) a
WHERE d.datname = current_database();
