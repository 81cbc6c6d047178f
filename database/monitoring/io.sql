-- Blocks read and written by the whole server. PostgreSQL 14 and 15 have no pg_stat_io, so this query fills its columns
-- from older views and leaves the others null. Reads are those of every database.
WITH block AS (SELECT current_setting('block_size')::bigint AS size)
SELECT io.process_type,
       'relation' AS object,
       'normal' AS context,
       io.reads AS reads_total,
       io.reads * block.size AS read_bytes_total,
       NULL::float8 AS read_ms_total,
       io.writes AS writes_total,
       io.writes * block.size AS written_bytes_total,
       NULL::float8 AS write_ms_total,
       NULL::bigint AS extends_total,
       io.hits AS hits_total,
       io.fsyncs AS syncs_total,
       b.stats_reset AS stats_reset_at
FROM block
CROSS JOIN pg_stat_bgwriter b
CROSS JOIN (SELECT sum(blks_read)::bigint AS reads, sum(blks_hit)::bigint AS hits FROM pg_stat_database) d
CROSS JOIN LATERAL (VALUES
    ('background writer', NULL::bigint, b.buffers_clean, NULL::bigint, NULL::bigint),
    ('checkpointer', NULL, b.buffers_checkpoint, NULL, NULL),
    ('client backend', d.reads, b.buffers_backend, d.hits, b.buffers_backend_fsync)
) AS io(process_type, reads, writes, hits, fsyncs)
ORDER BY io.process_type;
