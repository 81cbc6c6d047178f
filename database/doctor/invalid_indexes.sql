-- Indexes that a failed CREATE INDEX CONCURRENTLY left behind: they slow down writes and serve no query.
SELECT i.indexrelid::regclass::text AS object,
       format('it is marked invalid on %s', i.indrelid::regclass) AS evidence,
       format('REINDEX INDEX CONCURRENTLY %s;', i.indexrelid::regclass) AS command
FROM pg_index i
WHERE NOT i.indisvalid
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
ORDER BY 1;
