-- Shared buffers compared with the data and the machine's memory (:memory_bytes, 0 if unknown).
SELECT 'shared_buffers' AS object,
       format('it is %s; the databases hold %s%s', pg_size_pretty(buffers), pg_size_pretty(size),
              CASE WHEN :memory_bytes > 0 THEN format(', the machine has %s', pg_size_pretty((:memory_bytes)::bigint)) END)
           AS evidence,
       CASE WHEN :memory_bytes > 0
            THEN format('ALTER SYSTEM SET shared_buffers = ''%sMB''; and restart', (:memory_bytes)::bigint / 4 / 1048576)
            ELSE 'ALTER SYSTEM SET shared_buffers to a quarter of the machine''s memory, and restart' END AS command
FROM (
    SELECT current_setting('shared_buffers')::text AS text, setting::bigint * 8192 AS buffers,
           (SELECT sum(pg_database_size(oid))::bigint FROM pg_database WHERE datallowconn
            AND has_database_privilege(oid, 'CONNECT')) AS size
    FROM pg_settings WHERE name = 'shared_buffers'
) s
WHERE (buffers <= 134217728 AND size > :large_database_bytes)
   OR (:memory_bytes > 0 AND buffers > 0.5 * :memory_bytes);
