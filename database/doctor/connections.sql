-- Whether more clients can still connect.
SELECT 'max_connections' AS object,
       format('%s of %s connections are in use, most of them by %s', used, allowed, most) AS evidence,
       'Lower DB_POOL_SIZE, put PgBouncer in between, or: ALTER SYSTEM SET max_connections = '
           || allowed * 2 || '; and restart' AS command
FROM (
    SELECT count(*) AS used, current_setting('max_connections')::int AS allowed,
           mode() WITHIN GROUP (ORDER BY coalesce(nullif(application_name, ''), usename::text)) AS most
    FROM pg_stat_activity WHERE backend_type = 'client backend'
) c
WHERE used > :connections_ratio * (allowed - current_setting('superuser_reserved_connections')::int);
