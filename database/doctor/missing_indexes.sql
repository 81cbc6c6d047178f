-- Large tables that are scanned from end to end again and again.
SELECT format('%I.%I', schemaname, relname) AS object,
       format('%s scans from end to end read %s rows each; %s scans used an index', seq_scan,
              to_char(seq_tup_read / seq_scan, 'FM999,999,999,999'), coalesce(idx_scan, 0)) AS evidence,
       'chatsys monitor slow_queries shows the statements; CREATE INDEX CONCURRENTLY on what they filter by' AS command
FROM pg_stat_user_tables
WHERE seq_scan >= :scans AND seq_tup_read / seq_scan >= :scanned_rows AND n_live_tup >= :scanned_rows
ORDER BY seq_tup_read DESC
LIMIT 10;
