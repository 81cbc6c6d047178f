-- How often a table's blocks and its indexes' blocks were found in shared buffers.
SELECT schemaname AS schema_name,
       relname AS table_name,
       heap_blks_hit AS heap_hits_total,
       heap_blks_read AS heap_reads_total,
       heap_blks_hit::float8 / nullif(heap_blks_hit + heap_blks_read, 0) AS heap_hit_ratio,
       coalesce(idx_blks_hit, 0) AS index_hits_total,
       coalesce(idx_blks_read, 0) AS index_reads_total,
       idx_blks_hit::float8 / nullif(idx_blks_hit + idx_blks_read, 0) AS index_hit_ratio
FROM pg_statio_user_tables
ORDER BY heap_blks_read + coalesce(idx_blks_read, 0) DESC, schema_name, table_name;
