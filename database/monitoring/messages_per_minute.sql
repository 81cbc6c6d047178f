-- Messages stored in each of the last minutes, including the current minute and minutes without any.
\if :{?minutes} \else \set minutes 60 \endif
WITH minutes AS (
    SELECT generate_series(date_trunc('minute', now()) - make_interval(mins => :minutes - 1),
                           date_trunc('minute', now()), interval '1 minute') AS minute
), stored AS (
    SELECT date_trunc('minute', created_at) AS minute,
           count(*) AS messages,
           count(DISTINCT user_id) + count(DISTINCT guest_id) AS senders,
           count(DISTINCT room_id) AS rooms
    FROM messages
    WHERE created_at >= date_trunc('minute', now()) - make_interval(mins => :minutes - 1)
    GROUP BY 1
)
SELECT minute,
       coalesce(messages, 0) AS messages,
       coalesce(senders, 0) AS senders,
       coalesce(rooms, 0) AS rooms,
       (coalesce(messages, 0)
           / least(60, greatest(1, extract(epoch FROM now() - minute))))::float8 AS messages_per_second
FROM minutes
LEFT JOIN stored USING (minute)
ORDER BY minute;
