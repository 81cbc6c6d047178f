-- Tables and B-tree indexes that are much larger than their rows need. The estimate compares the pages that rows of the
-- average width fill, by the planner's statistics, with the pages at the last VACUUM or ANALYZE. Tables and indexes
-- without statistics that this role may read are left out. An index of few distinct keys is smaller than its estimate,
-- so it is never reported.
-- After https://github.com/ioguix/pgsql-bloat-estimation, to which the PostgreSQL wiki's "Show database bloat" links.
WITH parts AS (
    SELECT c.oid, c.relkind, c.relpages, c.reltuples, i.indrelid,
           coalesce(toast.relpages, 0) AS toast_pages, ceil(coalesce(greatest(toast.reltuples, 0), 0) / 4) AS toast_needed,
           coalesce(substring(c.reloptions::text FROM 'fillfactor=(\d+)')::float8,
                    CASE c.relkind WHEN 'i' THEN 90 ELSE 100 END) / 100 AS filled,
           max(coalesce(s.null_frac, 0)) AS null_frac,
           count(s.attname) AS known,
           count(*) AS wanted,
           sum((1 - coalesce(s.null_frac, 0)) * coalesce(s.avg_width, 0)) AS width
    FROM pg_class c
    LEFT JOIN pg_index i ON i.indexrelid = c.oid
    LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
    JOIN pg_class owner ON owner.oid = coalesce(i.indrelid, c.oid)
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    -- An index's column has the statistics of the table's column, unless it is an expression.
    LEFT JOIN pg_attribute column_of ON column_of.attrelid = i.indrelid AND column_of.attnum = i.indkey[a.attnum - 1]
    LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND NOT s.inherited
         AND ((column_of.attnum IS NOT NULL AND s.tablename = owner.relname AND s.attname = column_of.attname)
              OR (column_of.attnum IS NULL AND s.tablename = c.relname AND s.attname = a.attname))
    LEFT JOIN pg_am method ON method.oid = c.relam
    WHERE (c.relkind IN ('r', 'm') OR (c.relkind = 'i' AND method.amname = 'btree'))
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relpages > 1 AND c.reltuples >= 0
    GROUP BY c.oid, c.relkind, c.relpages, c.reltuples, c.reloptions, i.indrelid, toast.relpages, toast.reltuples
),
rows AS (
    SELECT *, current_setting('block_size')::float8 AS block,
           -- An item pointer, the header with the null bitmap, and the data; the latter two are padded to eight bytes.
           4 + 8 * ceil((CASE relkind WHEN 'i' THEN CASE WHEN null_frac > 0 THEN 12 ELSE 8 END
                                      ELSE 23 + CASE WHEN null_frac > 0 THEN (wanted + 7) / 8 ELSE 0 END END) / 8.0)
             + 8 * ceil(width / 8.0) AS row_bytes
    FROM parts
    WHERE known = wanted
),
sizes AS (
    SELECT oid, relkind, block * (relpages + toast_pages) AS bytes,
           block * (CASE relkind WHEN 'i' THEN 1 ELSE 0 END + toast_needed
                    + ceil(reltuples / greatest(floor((block - CASE relkind WHEN 'i' THEN 40 ELSE 24 END)
                                                      * filled / row_bytes), 1))) AS needed
    FROM rows
)
SELECT oid::regclass::text AS object,
       format('about %s of its %s hold no rows (estimated)', pg_size_pretty((bytes - needed)::bigint),
              pg_size_pretty(bytes::bigint)) AS evidence,
       CASE relkind WHEN 'i' THEN format('REINDEX INDEX CONCURRENTLY %s;', oid::regclass)
                    WHEN 'm' THEN format('VACUUM (FULL, ANALYZE) %s; -- nobody can use it meanwhile', oid::regclass)
                    ELSE format('VACUUM (FULL, ANALYZE) %s; -- nobody can use it meanwhile; pg_repack needs no such lock',
                                oid::regclass) END AS command
FROM sizes
WHERE bytes - needed >= :bloat_bytes AND bytes - needed >= :bloat_ratio * bytes
ORDER BY bytes - needed DESC
LIMIT 10;
