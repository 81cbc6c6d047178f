-- The write-ahead log of the whole server since counting began. PostgreSQL 18 counts writes and syncs in pg_stat_io.
SELECT w.wal_records AS records_total,
       w.wal_fpi AS full_page_images_total,
       w.wal_bytes::bigint AS wal_bytes_total,
       w.wal_buffers_full AS buffers_full_total,
       io.writes AS writes_total,
       io.fsyncs AS syncs_total,
       io.write_time AS write_ms_total,
       io.fsync_time AS sync_ms_total,
       current_setting('synchronous_commit') AS synchronous_commit,
       w.stats_reset AS stats_reset_at
FROM pg_stat_wal w
CROSS JOIN (
    SELECT sum(writes)::bigint AS writes, sum(fsyncs)::bigint AS fsyncs,
           sum(write_time) AS write_time, sum(fsync_time) AS fsync_time
    FROM pg_stat_io WHERE object = 'wal' AND context = 'normal'
) io;
