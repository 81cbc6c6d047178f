-- Tables for which the planner has no statistics, or outdated ones.
SELECT format('%I.%I', schemaname, relname) AS object,
       CASE WHEN coalesce(last_analyze, last_autoanalyze) IS NULL
            THEN format('%s rows, and never analyzed', to_char(n_live_tup, 'FM999,999,999,999'))
            ELSE format('%s rows have changed since it was analyzed; it holds %s',
                        to_char(n_mod_since_analyze, 'FM999,999,999,999'), to_char(n_live_tup, 'FM999,999,999,999')) END
           AS evidence,
       format('ANALYZE %I.%I;', schemaname, relname) AS command
FROM pg_stat_user_tables
WHERE n_live_tup >= :scanned_rows
  AND (coalesce(last_analyze, last_autoanalyze) IS NULL OR n_mod_since_analyze > n_live_tup)
  AND n_mod_since_analyze >= :scanned_rows
ORDER BY n_mod_since_analyze DESC
LIMIT 10;
