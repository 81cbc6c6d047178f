-- What a clean-up of messages older than :days days would delete, by room. Bytes are estimated from the table's
-- mean per message, with indexes but without receipts.
\if :{?days} \else \set days 30 \endif
WITH mean AS (
    SELECT pg_total_relation_size(c.oid) / greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 1) AS message_bytes
    FROM pg_class c WHERE c.oid = 'messages'::regclass
)
SELECT m.room_id::text AS room_id,
       r.room_name,
       m.messages,
       (m.messages * mean.message_bytes)::bigint AS estimated_bytes,
       m.oldest_at,
       m.newest_at
FROM (
    SELECT room_id, count(*) AS messages, min(created_at) AS oldest_at, max(created_at) AS newest_at
    FROM messages
    WHERE created_at < now() - make_interval(days => :days)
    GROUP BY room_id
) m
JOIN rooms r USING (room_id)
CROSS JOIN mean
ORDER BY m.messages DESC, r.room_name;
