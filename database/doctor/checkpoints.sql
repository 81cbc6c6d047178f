-- Checkpoints that WAL forces before checkpoint_timeout: each writes everything again. PostgreSQL 14 to 16.
-- Manual checkpoints, and those at shutdown, count as requested, too. WAL forces a checkpoint when at least half of
-- max_wal_size was written since the last one, so the amount of WAL limits how many it can have forced.
SELECT 'max_wal_size' AS object,
       format('%s of %s checkpoints were requested before checkpoint_timeout, by %s of WAL; max_wal_size is %s', checkpoints_req,
              checkpoints_req + checkpoints_timed, pg_size_pretty(wal_bytes), current_setting('max_wal_size')) AS evidence,
       format('ALTER SYSTEM SET max_wal_size = ''%sMB''; SELECT pg_reload_conf();',
              2 * pg_size_bytes(current_setting('max_wal_size')) / 1048576) AS command
FROM pg_stat_bgwriter, pg_stat_wal
WHERE least(checkpoints_req, 2 * wal_bytes / pg_size_bytes(current_setting('max_wal_size')))
      >= greatest(:requested_checkpoints, checkpoints_timed + 1);
