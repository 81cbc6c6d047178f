-- Every table by its size with indexes. Row counts are estimates of the server's statistics.
SELECT schemaname AS schema_name,
       relname AS table_name,
       n_live_tup AS rows_estimate,
       pg_total_relation_size(relid) AS size_bytes,
       pg_relation_size(relid) AS heap_bytes,
       pg_indexes_size(relid) AS indexes_bytes,
       pg_total_relation_size(relid) - pg_relation_size(relid) - pg_indexes_size(relid) AS toast_and_maps_bytes,
       pg_total_relation_size(relid)::float8 / nullif(n_live_tup, 0) AS row_bytes
FROM pg_stat_user_tables
ORDER BY size_bytes DESC, schema_name, table_name;
