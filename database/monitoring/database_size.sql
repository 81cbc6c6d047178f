-- The size of this database on disk, and what it is made of.
SELECT current_database()::text AS database_name,
       pg_database_size(current_database()) AS size_bytes,
       coalesce(sum(pg_table_size(c.oid)) FILTER (WHERE user_table), 0)::bigint AS tables_bytes,
       coalesce(sum(pg_indexes_size(c.oid)) FILTER (WHERE user_table), 0)::bigint AS indexes_bytes,
       (pg_database_size(current_database())
           - coalesce(sum(pg_total_relation_size(c.oid)) FILTER (WHERE user_table), 0))::bigint AS system_bytes
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AS user_table) t
WHERE c.relkind IN ('r', 'm');
