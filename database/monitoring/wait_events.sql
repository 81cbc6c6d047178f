-- What the busy processes of this server wait for now. A process that waits for nothing is "running".
SELECT coalesce(backend_type, 'hidden') AS process_type,
       coalesce(wait_event_type, 'running') AS wait_event_type,
       coalesce(wait_event, 'running') AS wait_event,
       count(*) AS processes
FROM pg_stat_activity
WHERE pid <> pg_backend_pid()
  AND (datname IS NULL OR datname = current_database())
  AND (backend_type <> 'client backend' OR state <> 'idle')
GROUP BY 1, 2, 3
ORDER BY processes DESC, 1, 2, 3;
