-- Tables that are scanned from end to end, ordered by the rows read that way.
SELECT schemaname AS schema_name,
       relname AS table_name,
       seq_scan AS sequential_scans_total,
       seq_tup_read AS sequential_rows_total,
       seq_tup_read::float8 / nullif(seq_scan, 0) AS rows_per_scan,
       coalesce(idx_scan, 0) AS index_scans_total,
       seq_scan::float8 / nullif(seq_scan + coalesce(idx_scan, 0), 0) AS sequential_ratio,
       n_live_tup AS rows_estimate,
       pg_relation_size(relid) AS heap_bytes
FROM pg_stat_user_tables
ORDER BY sequential_rows_total DESC, schema_name, table_name;
