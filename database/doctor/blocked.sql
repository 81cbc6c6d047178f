-- Sessions that wait for a lock of another session.
SELECT 'pid ' || blocked.pid AS object,
       format('it has waited %s s for a lock of pid %s (%s, %s), running: %s',
              round(extract(epoch FROM clock_timestamp() - blocked.query_start)), blocker.pid,
              coalesce(nullif(blocker.application_name, ''), blocker.usename::text), blocker.state,
              left(regexp_replace(blocked.query, '\s+', ' ', 'g'), 60)) AS evidence,
       format('SELECT pg_cancel_backend(%s);   (pg_terminate_backend if it idles in a transaction)', blocker.pid) AS command
FROM pg_stat_activity blocked
CROSS JOIN LATERAL unnest(pg_blocking_pids(blocked.pid)) AS by(pid)
JOIN pg_stat_activity blocker ON blocker.pid = by.pid
WHERE blocked.query_start < clock_timestamp() - make_interval(secs => :blocked_seconds)
ORDER BY blocked.query_start, blocker.pid
LIMIT 10;
