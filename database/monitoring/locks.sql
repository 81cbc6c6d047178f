-- Locks in this database by kind, object and mode. Those of the monitor's own connection are left out.
SELECT l.locktype AS lock_type,
       c.relname AS relation_name,
       l.mode AS lock_mode,
       l.granted AS is_granted,
       count(*) AS locks,
       count(DISTINCT l.pid) AS processes,
       (max(extract(epoch FROM clock_timestamp() - l.waitstart)) * 1000)::float8 AS longest_wait_ms
FROM pg_locks l
LEFT JOIN pg_class c ON c.oid = l.relation
WHERE (l.database IS NULL OR l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND l.pid <> pg_backend_pid()
GROUP BY 1, 2, 3, 4
ORDER BY l.granted, locks DESC, lock_type, relation_name, lock_mode;
