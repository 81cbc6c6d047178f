-- Standbys that are behind.
SELECT coalesce(nullif(application_name, ''), 'pid ' || pid) AS object,
       format('it is %s behind (state %s, %s)', pg_size_pretty(lag), state, sync_state) AS evidence,
       'Look at the standby''s disk, network and recovery conflicts; chatsys monitor connections' AS command
FROM (
    SELECT pid, application_name, state, sync_state,
           pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
                           coalesce(replay_lsn, flush_lsn, write_lsn, sent_lsn))::bigint AS lag
    FROM pg_stat_replication
) r
WHERE lag > :lag_bytes
ORDER BY lag DESC;
