-- Rows written and read in each table since counting began.
SELECT schemaname AS schema_name,
       relname AS table_name,
       n_tup_ins AS rows_inserted_total,
       n_tup_upd AS rows_updated_total,
       n_tup_hot_upd AS rows_hot_updated_total,
       n_tup_del AS rows_deleted_total,
       seq_tup_read AS sequential_rows_total,
       coalesce(idx_tup_fetch, 0) AS index_rows_total
FROM pg_stat_user_tables
ORDER BY schema_name, table_name;
