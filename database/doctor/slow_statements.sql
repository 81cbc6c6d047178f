-- Statements that take long each time and have a large share of the total time.
SELECT 'query ' || queryid AS object,
       format('%s executions of %s ms each take %s %% of the time of all statements: %s', calls,
              to_char(mean, 'FM999,999,990.0'), round(100 * share), left(regexp_replace(query, '\s+', ' ', 'g'), 60)) AS evidence,
       'chatsys monitor slow_queries --wide, then EXPLAIN (ANALYZE, BUFFERS) of the statement' AS command
FROM (
    SELECT queryid, sum(calls)::bigint AS calls, (sum(total_exec_time) / sum(calls))::numeric AS mean, min(query) AS query,
           (sum(total_exec_time) / nullif(sum(sum(total_exec_time)) OVER (), 0))::numeric AS share
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND query ~* '^(--[^\n]*\n|\s)*(select|insert|update|delete|with|merge)'
    GROUP BY queryid
    HAVING sum(calls) > 0
) s
WHERE calls >= :slow_calls AND mean >= :slow_ms AND share >= :slow_share
ORDER BY share DESC
LIMIT 5;
