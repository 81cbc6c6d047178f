-- The time from a message to each recipient's acknowledgement of delivery, for the newest messages of the last minutes.
-- The senders' own are left out. Only :messages messages are read, so that the cost does not grow with the table.
\if :{?minutes} \else \set minutes 60 \endif
\if :{?messages} \else \set messages 10000 \endif
WITH newest AS MATERIALIZED (
    SELECT message_id, room_id, seq, user_id, guest_id, created_at
    FROM messages
    WHERE created_at >= now() - make_interval(mins => :minutes)
    ORDER BY created_at DESC
    LIMIT :messages
)
SELECT m.message_id::text AS message_id,
       r.room_name,
       m.seq,
       coalesce(t.user_id::text, t.guest_id) AS user_id,
       m.created_at AS sent_at,
       t.delivered_at,
       (extract(epoch FROM t.delivered_at - m.created_at) * 1000)::float8 AS lag_ms
FROM newest m
JOIN message_deliveries t USING (message_id)
JOIN rooms r USING (room_id)
WHERE t.user_id IS DISTINCT FROM m.user_id OR t.guest_id IS DISTINCT FROM m.guest_id
ORDER BY m.created_at, m.message_id, t.delivered_at, 4;
