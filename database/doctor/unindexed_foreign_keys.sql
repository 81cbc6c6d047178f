-- Foreign keys whose table has no index that begins with their columns: each delete of a parent reads the whole table.
SELECT format('%s of %s', c.conname, c.conrelid::regclass) AS object,
       format('%s rows (estimated) are read for each deleted or re-keyed row of %s',
              to_char(greatest(t.reltuples, 0)::bigint, 'FM999,999,999,999'), c.confrelid::regclass) AS evidence,
       format('CREATE INDEX CONCURRENTLY ON %s (%s);', c.conrelid::regclass, columns.names) AS command
FROM pg_constraint c
JOIN pg_class t ON t.oid = c.conrelid
CROSS JOIN LATERAL (
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place) AS names
    FROM unnest(c.conkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
) columns
WHERE c.contype = 'f' AND t.reltuples >= :scanned_rows
  AND NOT EXISTS (
      SELECT FROM pg_index i
      WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indpred IS NULL
        AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
        AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] <@ c.conkey
  )
ORDER BY t.reltuples DESC
LIMIT 10;
