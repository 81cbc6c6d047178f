-- Commits that are acknowledged before they are on disk.
SELECT name AS object,
       format('synchronous_commit is off (set by: %s)', source) AS evidence,
       CASE source WHEN 'database' THEN format('ALTER DATABASE %I RESET synchronous_commit;', current_database())
                   WHEN 'user' THEN format('ALTER ROLE %I RESET synchronous_commit;', current_user)
                   ELSE 'ALTER SYSTEM RESET synchronous_commit; SELECT pg_reload_conf();' END AS command
FROM pg_settings
WHERE name = 'synchronous_commit' AND setting = 'off';
