-- Checkpoints of the whole server since counting began. PostgreSQL 17 moved them to a view of their own.
SELECT c.num_timed AS timed_total,
       c.num_requested AS requested_total,
       c.num_requested::float8 / nullif(c.num_timed + c.num_requested, 0) AS requested_ratio,
       c.buffers_written AS buffers_written_total,
       c.write_time AS write_ms_total,
       c.sync_time AS sync_ms_total,
       b.buffers_clean AS cleaner_buffers_total,
       b.maxwritten_clean AS cleaner_stops_total,
       c.stats_reset AS stats_reset_at
FROM pg_stat_checkpointer c
CROSS JOIN pg_stat_bgwriter b;
