-- Changes of the configuration that do not hold yet.
SELECT name AS object,
       format('the configuration says something else than %s, which runs', coalesce(nullif(setting, ''), 'nothing')) AS evidence,
       'Restart PostgreSQL' AS command
FROM pg_settings
WHERE pending_restart
ORDER BY name;
