-- Whether the working set fits into shared buffers.
SELECT current_database()::text AS object,
       format('%s %% of %s block reads were found in shared buffers (%s)', round(100 * hits / (hits + reads), 1),
              to_char(hits + reads, 'FM999,999,999,999'), current_setting('shared_buffers')) AS evidence,
       'chatsys monitor cache_hit shows the tables; raise shared_buffers (a quarter of memory) and restart' AS command
FROM (SELECT blks_hit::numeric AS hits, blks_read::numeric AS reads FROM pg_stat_database WHERE datname = current_database()) d
WHERE reads >= :read_blocks AND hits < :hit_ratio * (hits + reads);
