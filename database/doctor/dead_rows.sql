-- Tables in which dead rows pile up.
SELECT format('%I.%I', s.schemaname, s.relname) AS object,
       format('%s of %s rows are dead; last vacuumed %s%s', to_char(s.n_dead_tup, 'FM999,999,999,999'),
              to_char(s.n_live_tup + s.n_dead_tup, 'FM999,999,999,999'),
              coalesce(to_char(greatest(s.last_vacuum, s.last_autovacuum) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
                       'never'),
              CASE WHEN c.reloptions::text LIKE '%autovacuum_enabled=false%' OR c.reloptions::text LIKE '%autovacuum_enabled=off%'
                   THEN '; autovacuum is switched off for it' END) AS evidence,
       format('VACUUM (ANALYZE) %I.%I;', s.schemaname, s.relname) AS command
FROM pg_stat_user_tables s
JOIN pg_class c ON c.oid = s.relid
WHERE s.n_dead_tup >= :dead_rows AND s.n_dead_tup > :dead_ratio * (s.n_live_tup + s.n_dead_tup)
ORDER BY s.n_dead_tup DESC
LIMIT 10;
