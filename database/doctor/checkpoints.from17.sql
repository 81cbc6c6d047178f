-- Checkpoints that WAL forces before their time: each writes everything again. PostgreSQL 17 on.
SELECT 'max_wal_size' AS object,
       format('%s of %s checkpoints were requested before checkpoint_timeout; max_wal_size is %s', num_requested,
              num_requested + num_timed, current_setting('max_wal_size')) AS evidence,
       format('ALTER SYSTEM SET max_wal_size = ''%sMB''; SELECT pg_reload_conf();',
              2 * pg_size_bytes(current_setting('max_wal_size')) / 1048576) AS command
FROM pg_stat_checkpointer
WHERE num_requested >= :requested_checkpoints AND num_requested > num_timed;
