-- The rooms with the most messages in the last minutes.
\if :{?minutes} \else \set minutes 60 \endif
\if :{?limit} \else \set limit 20 \endif
SELECT m.room_id::text AS room_id,
       r.room_name,
       count(*) AS messages,
       count(DISTINCT coalesce(m.user_id::text, m.guest_id)) AS senders,
       count(*) / (:minutes * 60.0)::float8 AS messages_per_second,
       (count(*) / sum(count(*)) OVER ())::float8 AS share_ratio,
       max(m.created_at) AS last_message_at
FROM messages m
JOIN rooms r USING (room_id)
WHERE m.created_at >= now() - make_interval(mins => :minutes)
GROUP BY m.room_id, r.room_name
ORDER BY messages DESC, r.room_name
LIMIT :limit;
