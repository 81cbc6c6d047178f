-- Messages and accounts by UTC day, including days without any, with running totals.
\if :{?days} \else \set days 30 \endif
WITH span AS (
    SELECT date_trunc('day', now() AT TIME ZONE 'UTC') - make_interval(days => :days - 1) AS first_day
), days AS (
    SELECT generate_series(first_day, date_trunc('day', now() AT TIME ZONE 'UTC'), interval '1 day') AS day FROM span
), new_messages AS (
    SELECT date_trunc('day', created_at AT TIME ZONE 'UTC') AS day, count(*) AS n
    FROM messages WHERE created_at >= (SELECT first_day AT TIME ZONE 'UTC' FROM span) GROUP BY 1
), new_users AS (
    SELECT date_trunc('day', created_at AT TIME ZONE 'UTC') AS day, count(*) AS n
    FROM users WHERE created_at >= (SELECT first_day AT TIME ZONE 'UTC' FROM span) GROUP BY 1
), earlier AS MATERIALIZED ( -- else it would be counted again for each day
    SELECT (SELECT count(*) FROM messages WHERE created_at < first_day AT TIME ZONE 'UTC') AS messages,
           (SELECT count(*) FROM users WHERE created_at < first_day AT TIME ZONE 'UTC') AS users
    FROM span
)
SELECT days.day AT TIME ZONE 'UTC' AS day,
       coalesce(m.n, 0) AS new_messages,
       coalesce(u.n, 0) AS new_users,
       (earlier.messages + sum(coalesce(m.n, 0)) OVER (ORDER BY days.day))::bigint AS messages,
       (earlier.users + sum(coalesce(u.n, 0)) OVER (ORDER BY days.day))::bigint AS users
FROM days
CROSS JOIN earlier
LEFT JOIN new_messages m USING (day)
LEFT JOIN new_users u USING (day)
ORDER BY 1;
