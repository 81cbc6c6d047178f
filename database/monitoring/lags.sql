-- How long deliveries and reads take, for the newest messages of the last minutes: one row, cheap enough to run often.
-- The senders' own are left out. Only :messages messages are read, so that the cost does not grow with the table.
\if :{?minutes} \else \set minutes 1 \endif
\if :{?messages} \else \set messages 200 \endif
WITH newest AS MATERIALIZED (
    SELECT message_id, user_id, guest_id, created_at
    FROM messages
    WHERE created_at >= now() - make_interval(mins => :minutes)
    ORDER BY created_at DESC
    LIMIT :messages
), delivered AS (
    SELECT count(*) AS deliveries,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY t.delivered_at - m.created_at) AS p50,
           percentile_cont(0.99) WITHIN GROUP (ORDER BY t.delivered_at - m.created_at) AS p99
    FROM newest m JOIN message_deliveries t USING (message_id)
    WHERE t.user_id IS DISTINCT FROM m.user_id OR t.guest_id IS DISTINCT FROM m.guest_id
), read AS (
    SELECT count(*) AS reads,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY t.read_at - m.created_at) AS p50,
           percentile_cont(0.99) WITHIN GROUP (ORDER BY t.read_at - m.created_at) AS p99
    FROM newest m JOIN message_reads t USING (message_id)
    WHERE t.user_id IS DISTINCT FROM m.user_id OR t.guest_id IS DISTINCT FROM m.guest_id
)
SELECT (SELECT count(*) FROM newest) AS messages,
       d.deliveries,
       (extract(epoch FROM d.p50) * 1000)::float8 AS delivery_p50_ms,
       (extract(epoch FROM d.p99) * 1000)::float8 AS delivery_p99_ms,
       r.reads,
       (extract(epoch FROM r.p50) * 1000)::float8 AS read_p50_ms,
       (extract(epoch FROM r.p99) * 1000)::float8 AS read_p99_ms
FROM delivered d CROSS JOIN read r;
