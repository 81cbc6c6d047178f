-- Indexes of one table with the same columns, order, collation and condition: one of them only costs writes.
SELECT min(i.indexrelid::regclass::text) AS object,
       format('the same as %s on %s; both take %s', max(i.indexrelid::regclass::text), i.indrelid::regclass,
              pg_size_pretty(sum(pg_relation_size(i.indexrelid)))) AS evidence,
       format('DROP INDEX CONCURRENTLY %s;', coalesce(
           (array_agg(i.indexrelid::regclass ORDER BY i.indexrelid DESC)
                FILTER (WHERE NOT i.indisunique AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)))[1]::text,
           max(i.indexrelid::regclass::text))) AS command
FROM pg_index i
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND i.indisvalid
GROUP BY i.indrelid, x.relam, i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text,
         pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)
HAVING count(*) > 1
ORDER BY 1;
