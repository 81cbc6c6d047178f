-- Indexes that a CREATE INDEX CONCURRENTLY left half made: they cost writes and serve nothing.
SELECT i.indexrelid::regclass::text AS object,
       format('it is marked invalid on %s', i.indrelid::regclass) AS evidence,
       format('REINDEX INDEX CONCURRENTLY %s;', i.indexrelid::regclass) AS command
FROM pg_index i
WHERE NOT i.indisvalid
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
ORDER BY 1;
