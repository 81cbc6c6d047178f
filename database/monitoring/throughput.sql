-- What this database has done since counting began.
SELECT xact_commit AS commits_total,
       xact_rollback AS rollbacks_total,
       xact_rollback::float8 / nullif(xact_commit + xact_rollback, 0) AS rollback_ratio,
       xact_commit::float8
           / nullif(extract(epoch FROM clock_timestamp() - coalesce(stats_reset, pg_postmaster_start_time())), 0)::float8
           AS commits_per_second,
       tup_returned AS rows_scanned_total,
       tup_fetched AS rows_fetched_total,
       tup_inserted AS rows_inserted_total,
       tup_updated AS rows_updated_total,
       tup_deleted AS rows_deleted_total,
       blks_hit AS buffer_hits_total,
       blks_read AS buffer_reads_total,
       blks_hit::float8 / nullif(blks_hit + blks_read, 0) AS buffer_hit_ratio,
       temp_files AS temporary_files_total,
       temp_bytes AS temporary_bytes_total,
       deadlocks AS deadlocks_total,
       sessions AS sessions_total,
       active_time AS active_ms_total,
       idle_in_transaction_time AS idle_in_transaction_ms_total,
       stats_reset AS stats_reset_at
FROM pg_stat_database
WHERE datname = current_database();
