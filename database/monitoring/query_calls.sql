-- The statements that are sent most often, counted by pg_stat_statements.
\if :{?limit} \else \set limit 20 \endif
SELECT queryid AS query_id,
       sum(calls)::bigint AS calls_total,
       (sum(calls) / nullif(extract(epoch FROM clock_timestamp() - (SELECT stats_reset FROM pg_stat_statements_info)), 0)
       )::float8 AS calls_per_second,
       (sum(rows)::float8 / nullif(sum(calls), 0))::float8 AS rows_per_call,
       (sum(total_exec_time) / nullif(sum(calls), 0))::float8 AS mean_exec_ms,
       (sum(shared_blks_hit + shared_blks_read)::float8 / nullif(sum(calls), 0))::float8 AS buffers_per_call,
       min(query) AS query
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY queryid
ORDER BY calls_total DESC, query_id
LIMIT :limit;
