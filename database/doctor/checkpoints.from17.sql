-- Checkpoints that WAL forces before checkpoint_timeout: each writes everything again. From PostgreSQL 17 on.
-- Manual checkpoints, and those at shutdown, count as requested, too. WAL forces a checkpoint when at least half of
-- max_wal_size was written since the last one, so the amount of WAL limits how many it can have forced.
SELECT 'max_wal_size' AS object,
       format('%s of %s checkpoints were requested before checkpoint_timeout, by %s of WAL; max_wal_size is %s', num_requested,
              num_requested + num_timed, pg_size_pretty(wal_bytes), current_setting('max_wal_size')) AS evidence,
       format('ALTER SYSTEM SET max_wal_size = ''%sMB''; SELECT pg_reload_conf();',
              2 * pg_size_bytes(current_setting('max_wal_size')) / 1048576) AS command
FROM pg_stat_checkpointer, pg_stat_wal
WHERE least(num_requested, 2 * wal_bytes / pg_size_bytes(current_setting('max_wal_size')))
      >= greatest(:requested_checkpoints, num_timed + 1);
