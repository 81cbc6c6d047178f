-- Changes of the configuration that need a restart to take effect.
SELECT name AS object,
       format('the configuration differs from the running value %s', coalesce(nullif(setting, ''), 'nothing')) AS evidence,
       'Restart PostgreSQL' AS command
FROM pg_settings
WHERE pending_restart
ORDER BY name;
