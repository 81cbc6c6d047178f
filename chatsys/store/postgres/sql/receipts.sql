-- name: record_receipts
-- One flush: many receipts, deliveries and reads (which bring the delivery along). The rooms of reads ($7) are locked in
-- order, because the first read of a message changes its room's counters. A delivery that was there already gets its
-- is_read from the trigger on message_reads. One row for each message and kind: the places
-- that asked for it, the complete set of readers, and the servers that have the room.
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::boolean[])
        WITH ORDINALITY AS g (room_name, message_id, user_id, guest_id, at, is_read, place)
), locked AS MATERIALIZED (
    SELECT r.room_id FROM rooms r WHERE r.room_name = ANY ($7::text[]) ORDER BY r.room_id FOR NO KEY UPDATE
), target AS MATERIALIZED (
    SELECT g.*, m.room_id FROM given g
    JOIN messages m ON m.message_id = g.message_id AND NOT m.is_deleted
    JOIN rooms r ON r.room_id = m.room_id AND r.room_name = g.room_name
    CROSS JOIN (SELECT count(*) FROM locked) AS waited
    WHERE coalesce(m.user_id::text, m.guest_id) <> coalesce(g.user_id::text, g.guest_id)
      AND (g.user_id IS NULL OR EXISTS (SELECT FROM users u WHERE u.user_id = g.user_id))
), delivered AS (
    INSERT INTO message_deliveries (message_id, user_id, guest_id, delivered_at, is_read)
    SELECT t.message_id, t.user_id, t.guest_id, min(t.at), bool_or(t.is_read) FROM target t
    GROUP BY t.message_id, t.user_id, t.guest_id ORDER BY t.message_id, t.user_id, t.guest_id
    ON CONFLICT DO NOTHING
    RETURNING message_id, coalesce(user_id::text, guest_id) AS reader
), read AS (
    INSERT INTO message_reads (message_id, user_id, guest_id, read_at)
    SELECT t.message_id, t.user_id, t.guest_id, min(t.at) FROM target t WHERE t.is_read
    GROUP BY t.message_id, t.user_id, t.guest_id ORDER BY t.message_id, t.user_id, t.guest_id
    ON CONFLICT DO NOTHING
    RETURNING message_id, coalesce(user_id::text, guest_id) AS reader
)
SELECT asked.places,
       CASE WHEN asked.is_read THEN
           ARRAY(SELECT coalesce(d.user_id::text, d.guest_id) FROM message_reads d
                 WHERE d.message_id = asked.message_id
                 UNION ALL SELECT n.reader FROM read n WHERE n.message_id = asked.message_id)
       ELSE
           ARRAY(SELECT coalesce(d.user_id::text, d.guest_id) FROM message_deliveries d
                 WHERE d.message_id = asked.message_id
                 UNION ALL SELECT n.reader FROM delivered n WHERE n.message_id = asked.message_id)
       END AS readers,
       h.servers
FROM (SELECT t.message_id, t.room_id, t.is_read, array_agg(t.place) AS places FROM target t
      GROUP BY t.message_id, t.room_id, t.is_read) asked
LEFT JOIN servers_of(ARRAY(SELECT DISTINCT room_id FROM target)) h ON h.room_id = asked.room_id;

-- name: mark_all_read
-- plan: custom
-- Everything of others after read_to, the number up to which the member had read it all at the last time.
WITH room AS MATERIALIZED (
    SELECT r.room_id FROM rooms r WHERE r.room_name = $1 FOR NO KEY UPDATE
), reader AS (
    SELECT u.user_id, coalesce(rm.read_to, 0) AS read_to
    FROM users u CROSS JOIN room r
    LEFT JOIN room_members rm ON rm.room_id = r.room_id AND rm.user_id = u.user_id
    WHERE u.user_id = $2
), unread AS MATERIALIZED (
    SELECT m.message_id, m.seq FROM room r CROSS JOIN reader
    JOIN messages m ON m.room_id = r.room_id AND m.seq > reader.read_to
    WHERE m.user_id IS DISTINCT FROM $2 AND NOT m.is_deleted
      AND NOT EXISTS (SELECT FROM message_reads d WHERE d.message_id = m.message_id AND d.user_id = $2)
), member AS (
    UPDATE room_members rm SET read_to = (SELECT max(m.seq) FROM messages m WHERE m.room_id = r.room_id)
    FROM room r WHERE rm.room_id = r.room_id AND rm.user_id = $2 AND EXISTS (SELECT FROM unread)
), delivered AS (
    INSERT INTO message_deliveries (message_id, user_id, delivered_at, is_read)
    SELECT u.message_id, $2, $3, true FROM unread u ORDER BY u.message_id ON CONFLICT DO NOTHING
), read AS (
    INSERT INTO message_reads (message_id, user_id, read_at)
    SELECT u.message_id, $2, $3 FROM unread u ORDER BY u.message_id ON CONFLICT DO NOTHING
    RETURNING message_id
)
SELECT u.message_id::text FROM read r JOIN unread u ON u.message_id = r.message_id ORDER BY u.seq;

-- name: mark_all_read_by_guest
-- plan: custom
-- A guest has no membership, so all of the room is compared with what the guest has read.
WITH room AS MATERIALIZED (
    SELECT r.room_id FROM rooms r WHERE r.room_name = $1 FOR NO KEY UPDATE
), unread AS MATERIALIZED (
    SELECT m.message_id, m.seq FROM room r JOIN messages m ON m.room_id = r.room_id
    WHERE m.guest_id IS DISTINCT FROM $2 AND NOT m.is_deleted
      AND NOT EXISTS (SELECT FROM message_reads d WHERE d.message_id = m.message_id AND d.guest_id = $2)
), delivered AS (
    INSERT INTO message_deliveries (message_id, guest_id, delivered_at, is_read)
    SELECT u.message_id, $2, $3, true FROM unread u ORDER BY u.message_id ON CONFLICT DO NOTHING
), read AS (
    INSERT INTO message_reads (message_id, guest_id, read_at)
    SELECT u.message_id, $2, $3 FROM unread u ORDER BY u.message_id ON CONFLICT DO NOTHING
    RETURNING message_id
)
SELECT u.message_id::text FROM read r JOIN unread u ON u.message_id = r.message_id ORDER BY u.seq;
