-- Rows that were updated or deleted and wait for VACUUM, and whether autovacuum is due by the server's settings, which
-- a table's storage parameters override.
SELECT s.schemaname AS schema_name,
       s.relname AS table_name,
       s.n_live_tup AS live_rows,
       s.n_dead_tup AS dead_rows,
       s.n_dead_tup::float8 / nullif(s.n_live_tup + s.n_dead_tup, 0) AS dead_ratio,
       limits.dead_rows_limit,
       s.n_dead_tup > limits.dead_rows_limit AS is_vacuum_due,
       s.n_mod_since_analyze AS rows_changed_since_analyze,
       greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum_at,
       greatest(s.last_analyze, s.last_autoanalyze) AS last_analyze_at,
       s.vacuum_count + s.autovacuum_count AS vacuums_total
FROM pg_stat_user_tables s
JOIN pg_class c ON c.oid = s.relid
LEFT JOIN LATERAL (
    SELECT max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold') AS threshold,
           max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor') AS scale_factor
    FROM pg_options_to_table(c.reloptions)
) own ON true
CROSS JOIN LATERAL (
    SELECT coalesce(own.threshold, current_setting('autovacuum_vacuum_threshold'))::float8
         + coalesce(own.scale_factor, current_setting('autovacuum_vacuum_scale_factor'))::float8
           * greatest(c.reltuples, 0) AS dead_rows_limit
) limits
ORDER BY dead_rows DESC, schema_name, table_name;
