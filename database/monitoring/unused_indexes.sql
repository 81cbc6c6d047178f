-- Indexes that no query has used since counting began and that no constraint needs, largest first.
-- serves_foreign_key marks an index that begins with the columns of a foreign key: deletes of parent rows need it.
SELECT s.schemaname AS schema_name,
       s.relname AS table_name,
       s.indexrelname AS index_name,
       pg_relation_size(s.indexrelid) AS size_bytes,
       EXISTS (
           SELECT FROM pg_constraint f
           WHERE f.conrelid = s.relid AND f.contype = 'f'
             AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey
       ) AS serves_foreign_key,
       d.stats_reset AS counting_since
FROM pg_stat_user_indexes s
JOIN pg_index i USING (indexrelid)
LEFT JOIN pg_stat_database d ON d.datname = current_database()
WHERE s.idx_scan = 0 AND NOT i.indisunique
ORDER BY size_bytes DESC, schema_name, table_name, index_name;
