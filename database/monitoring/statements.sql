-- Totals of all statements of this database, counted by pg_stat_statements.
SELECT count(*) AS statements,
       coalesce(sum(calls), 0)::bigint AS calls_total,
       coalesce(sum(total_exec_time), 0)::float8 AS exec_ms_total,
       coalesce(sum(rows), 0)::bigint AS rows_total,
       coalesce(sum(shared_blks_hit), 0)::bigint AS buffer_hits_total,
       coalesce(sum(shared_blks_read), 0)::bigint AS buffer_reads_total,
       coalesce(sum(wal_bytes), 0)::bigint AS wal_bytes_total,
       (SELECT stats_reset FROM pg_stat_statements_info) AS stats_reset_at
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database());
