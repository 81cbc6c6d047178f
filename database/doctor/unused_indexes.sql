-- Indexes that no statement has used for a week and no constraint or foreign key needs.
SELECT format('%I.%I', s.schemaname, s.indexrelname) AS object,
       format('%s, and no scan since %s', pg_size_pretty(pg_relation_size(s.indexrelid)),
              to_char(since.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')) AS evidence,
       format('DROP INDEX CONCURRENTLY %I.%I;   (look at the standbys first: they count for themselves)', s.schemaname,
              s.indexrelname) AS command
FROM pg_stat_user_indexes s
JOIN pg_index i USING (indexrelid)
CROSS JOIN LATERAL (
    SELECT coalesce(stats_reset, pg_postmaster_start_time()) AS at FROM pg_stat_database WHERE datname = current_database()
) since
WHERE s.idx_scan = 0 AND NOT i.indisunique AND i.indisvalid
  AND pg_relation_size(s.indexrelid) >= :index_bytes
  AND since.at < now() - make_interval(secs => :unused_seconds)
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = s.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_constraint c
                  WHERE c.contype = 'f' AND c.conrelid = i.indrelid AND i.indkey[0] = c.conkey[1])
ORDER BY pg_relation_size(s.indexrelid) DESC
LIMIT 10;
