-- How often each index is used, and what it costs on disk. When an index was last used is known from PostgreSQL 16 on.
SELECT s.schemaname AS schema_name,
       s.relname AS table_name,
       s.indexrelname AS index_name,
       i.indisunique AS is_unique,
       s.idx_scan AS scans_total,
       s.idx_tup_read AS entries_read_total,
       s.idx_tup_fetch AS rows_fetched_total,
       pg_relation_size(s.indexrelid) AS size_bytes,
       NULL::timestamptz AS last_used_at
FROM pg_stat_user_indexes s
JOIN pg_index i USING (indexrelid)
ORDER BY scans_total DESC, schema_name, table_name, index_name;
