-- Whether pg_stat_statements can show which statements cost the most.
SELECT 'pg_stat_statements' AS object,
       CASE WHEN NOT loaded THEN 'it is not in shared_preload_libraries'
            WHEN have IS NULL THEN 'it is loaded, but the extension is not in this database'
            ELSE format('the extension is at %s, the server has %s', have, newest) END AS evidence,
       CASE WHEN NOT loaded THEN 'ALTER SYSTEM SET shared_preload_libraries = ''pg_stat_statements''; restart, then '
                || 'CREATE EXTENSION pg_stat_statements;'
            WHEN have IS NULL THEN 'CREATE EXTENSION pg_stat_statements;'
            ELSE 'ALTER EXTENSION pg_stat_statements UPDATE;' END AS command
FROM (
    SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max') AS loaded,
           (SELECT extversion FROM pg_extension WHERE extname = 'pg_stat_statements') AS have,
           (SELECT default_version FROM pg_available_extensions WHERE name = 'pg_stat_statements') AS newest
) e
WHERE NOT loaded OR have IS NULL OR (newest IS NOT NULL AND have <> newest);
