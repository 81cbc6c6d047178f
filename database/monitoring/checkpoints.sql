-- Checkpoints of the whole server since counting began. PostgreSQL 14 to 16.
SELECT checkpoints_timed AS timed_total,
       checkpoints_req AS requested_total,
       checkpoints_req::float8 / nullif(checkpoints_timed + checkpoints_req, 0) AS requested_ratio,
       buffers_checkpoint AS buffers_written_total,
       checkpoint_write_time AS write_ms_total,
       checkpoint_sync_time AS sync_ms_total,
       buffers_clean AS cleaner_buffers_total,
       maxwritten_clean AS cleaner_stops_total,
       stats_reset AS stats_reset_at
FROM pg_stat_bgwriter;
