-- Transactions that stay open: they hold locks, and VACUUM may not remove what they could still see.
SELECT 'pid ' || pid AS object,
       format('%s (%s) has had a transaction open for %s s and is %s', coalesce(nullif(application_name, ''), usename::text),
              coalesce(host(client_addr), 'local'), round(extract(epoch FROM clock_timestamp() - xact_start)), state)
           AS evidence,
       format('SELECT pg_terminate_backend(%s);   and set idle_in_transaction_session_timeout', pid) AS command
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'
  AND xact_start < clock_timestamp() - make_interval(secs => :transaction_seconds)
ORDER BY xact_start
LIMIT 10;
