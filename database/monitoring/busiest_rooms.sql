-- The rooms with the most messages in the last minutes.
\if :{?minutes} \else \set minutes 60 \endif
\if :{?limit} \else \set limit 20 \endif
WITH written AS ( -- by sender first: hashing a million rows is cheaper than sorting them for count(DISTINCT)
    SELECT room_id, user_id, guest_id, count(*) AS messages, max(created_at) AS last_message_at
    FROM messages
    WHERE created_at >= now() - make_interval(mins => :minutes)
    GROUP BY room_id, user_id, guest_id
)
SELECT w.room_id::text AS room_id,
       r.room_name,
       sum(w.messages)::bigint AS messages,
       count(*) AS senders,
       (sum(w.messages) / (:minutes * 60.0))::float8 AS messages_per_second,
       (sum(w.messages) / sum(sum(w.messages)) OVER ())::float8 AS share_ratio,
       max(w.last_message_at) AS last_message_at
FROM written w
JOIN rooms r USING (room_id)
GROUP BY w.room_id, r.room_name
ORDER BY messages DESC, r.room_name
LIMIT :limit;
