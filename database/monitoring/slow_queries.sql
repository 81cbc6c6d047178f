-- The statements that cost this database the most time, counted by pg_stat_statements.
\if :{?limit} \else \set limit 20 \endif
SELECT queryid AS query_id,
       sum(calls)::bigint AS calls_total,
       sum(total_exec_time)::float8 AS exec_ms_total,
       (sum(total_exec_time) / nullif(sum(sum(total_exec_time)) OVER (), 0))::float8 AS time_ratio,
       (sum(total_exec_time) / nullif(sum(calls), 0))::float8 AS mean_exec_ms,
       max(max_exec_time)::float8 AS max_exec_ms,
       sum(rows)::bigint AS rows_total,
       (sum(shared_blks_hit)::float8 / nullif(sum(shared_blks_hit + shared_blks_read), 0))::float8 AS buffer_hit_ratio,
       sum(wal_bytes)::bigint AS wal_bytes_total,
       min(query) AS query
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY queryid
ORDER BY exec_ms_total DESC, query_id
LIMIT :limit;
