-- The write-ahead log of the whole server since counting began. PostgreSQL 14 to 17.
SELECT wal_records AS records_total,
       wal_fpi AS full_page_images_total,
       wal_bytes::bigint AS wal_bytes_total,
       wal_buffers_full AS buffers_full_total,
       wal_write AS writes_total,
       wal_sync AS syncs_total,
       wal_write_time AS write_ms_total,
       wal_sync_time AS sync_ms_total,
       current_setting('synchronous_commit') AS synchronous_commit,
       stats_reset AS stats_reset_at
FROM pg_stat_wal;
