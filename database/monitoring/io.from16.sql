-- Blocks read and written by the whole server, by kind of process. PostgreSQL 16 and 17.
SELECT backend_type AS process_type,
       object,
       context,
       reads AS reads_total,
       reads * op_bytes AS read_bytes_total,
       read_time AS read_ms_total,
       writes AS writes_total,
       writes * op_bytes AS written_bytes_total,
       write_time AS write_ms_total,
       extends AS extends_total,
       hits AS hits_total,
       fsyncs AS syncs_total,
       stats_reset AS stats_reset_at
FROM pg_stat_io
WHERE coalesce(reads, 0) + coalesce(writes, 0) + coalesce(extends, 0) + coalesce(hits, 0) > 0
ORDER BY process_type, object, context;
