-- Checkpoints that WAL forces before their time: each writes everything again. PostgreSQL 14 to 16.
SELECT 'max_wal_size' AS object,
       format('%s of %s checkpoints were requested before checkpoint_timeout; max_wal_size is %s', checkpoints_req,
              checkpoints_req + checkpoints_timed, current_setting('max_wal_size')) AS evidence,
       format('ALTER SYSTEM SET max_wal_size = ''%sMB''; SELECT pg_reload_conf();',
              2 * pg_size_bytes(current_setting('max_wal_size')) / 1048576) AS command
FROM pg_stat_bgwriter
WHERE checkpoints_req >= :requested_checkpoints AND checkpoints_req > checkpoints_timed;
