-- Settings that differ from PostgreSQL's defaults, and where they were set.
SELECT name,
       setting AS value,
       unit,
       boot_val AS default_value,
       source,
       pending_restart AS is_restart_pending,
       category
FROM pg_settings
WHERE source NOT IN ('default', 'override', 'client', 'session') AND setting IS DISTINCT FROM boot_val
ORDER BY category, name;
