-- Checkpoints that WAL forces before their time: each writes everything again. PostgreSQL 14 to 16.
SELECT 'max_wal_size' AS object,
       format('%s of %s checkpoints were requested before checkpoint_timeout; max_wal_size is %s', checkpoints_req,
              checkpoints_req + checkpoints_timed, current_setting('max_wal_size')) AS evidence,
       'ALTER SYSTEM SET max_wal_size to twice as much; SELECT pg_reload_conf();' AS command
FROM pg_stat_bgwriter
WHERE checkpoints_req >= :requested_checkpoints AND checkpoints_req > checkpoints_timed;
