-- Replication slots that nobody reads: the server keeps WAL for them until the disk is full.
SELECT slot_name::text AS object,
       format('nobody reads this %s slot, and it keeps %s of WAL', slot_type, pg_size_pretty(kept)) AS evidence,
       format('SELECT pg_drop_replication_slot(%L);   or set max_slot_wal_keep_size', slot_name) AS command
FROM (
    SELECT slot_name, slot_type, active,
           pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                           restart_lsn)::bigint AS kept
    FROM pg_replication_slots
) s
WHERE NOT active AND kept > :slot_bytes
ORDER BY kept DESC;
