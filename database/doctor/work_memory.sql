-- The memory that sorts of all connections may take, compared with the machine's (:memory_bytes, 0 if unknown).
SELECT 'work_mem' AS object,
       format('%s for each sort of up to %s connections: %s, and the machine has %s', current_setting('work_mem'),
              current_setting('max_connections'), pg_size_pretty(worst), pg_size_pretty((:memory_bytes)::bigint)) AS evidence,
       'ALTER SYSTEM SET work_mem = ''4MB''; SELECT pg_reload_conf();   or lower max_connections' AS command
FROM (
    SELECT setting::bigint * 1024 * current_setting('max_connections')::int AS worst
    FROM pg_settings WHERE name = 'work_mem'
) w
WHERE :memory_bytes > 0 AND worst > :work_memory_factor * :memory_bytes;
