-- Autovacuum or its counters are switched off: dead rows stay, statistics get old, and wraparound comes nearer.
SELECT name AS object,
       format('%s is off (set by: %s)', name, source) AS evidence,
       format('ALTER SYSTEM RESET %s; SELECT pg_reload_conf();', name) AS command
FROM pg_settings
WHERE name IN ('autovacuum', 'track_counts') AND setting = 'off'
ORDER BY name;
