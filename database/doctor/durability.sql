-- Settings with which a crash loses acknowledged commits, or the whole database.
SELECT name AS object,
       format('%s is %s (set by: %s)', name, setting, source) AS evidence,
       format('ALTER SYSTEM RESET %s; SELECT pg_reload_conf();', name) AS command
FROM pg_settings
WHERE (name IN ('fsync', 'full_page_writes') AND setting = 'off')
   OR (name = 'zero_damaged_pages' AND setting = 'on')
   OR (name = 'ignore_checksum_failure' AND setting = 'on')
ORDER BY name;
