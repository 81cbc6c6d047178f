-- name: record_receipts
-- One flush: many receipts, which are deliveries or reads. A read includes the delivery. The rooms of reads ($7) are
-- locked in order, because the first read of a message changes its room's counters. The trigger on message_reads sets
-- is_read of deliveries that existed before. Returns a row for each message and kind: the positions that requested it,
-- all readers, the new ones among them, and the servers that have sessions in the room. Ids, times and booleans are
-- passed as the text of an array, as in post_new_messages.
WITH given AS (
    SELECT g.room_name, g.message_id, g.user_id, g.guest_id, to_timestamp(g.seconds) AS at, g.is_read, g.place
    FROM unnest($1::text[], $2::text::uuid[], $3::text::uuid[], $4::text[], $5::text::float8[], $6::text::boolean[])
        WITH ORDINALITY AS g (room_name, message_id, user_id, guest_id, seconds, is_read, place)
), locked AS MATERIALIZED (
    SELECT r.room_id FROM rooms r WHERE r.room_name = ANY ($7::text[]) ORDER BY r.room_id FOR NO KEY UPDATE
), target AS MATERIALIZED (
    SELECT g.*, m.room_id FROM given g
    JOIN messages m ON m.message_id = g.message_id AND NOT m.is_deleted
    JOIN rooms r ON r.room_id = m.room_id AND r.room_name = g.room_name
    CROSS JOIN (SELECT count(*) FROM locked) AS waited
    WHERE coalesce(m.user_id::text, m.guest_id) <> coalesce(g.user_id::text, g.guest_id)
      AND (g.user_id IS NULL OR EXISTS (SELECT FROM users u WHERE u.user_id = g.user_id AND u.removed_at IS NULL))
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
SELECT requested.places,
       CASE WHEN requested.is_read THEN
           ARRAY(SELECT coalesce(d.user_id::text, d.guest_id) FROM message_reads d
                 WHERE d.message_id = requested.message_id)
       ELSE
           ARRAY(SELECT coalesce(d.user_id::text, d.guest_id) FROM message_deliveries d
                 WHERE d.message_id = requested.message_id)
       END AS readers,
       CASE WHEN requested.is_read THEN ARRAY(SELECT n.reader FROM read n WHERE n.message_id = requested.message_id)
       ELSE ARRAY(SELECT n.reader FROM delivered n WHERE n.message_id = requested.message_id)
       END AS new_readers,
       h.servers
FROM (SELECT t.message_id, t.room_id, t.is_read, array_agg(t.place) AS places FROM target t
      GROUP BY t.message_id, t.room_id, t.is_read) requested
LEFT JOIN servers_of(ARRAY(SELECT DISTINCT room_id FROM target)) h ON h.room_id = requested.room_id;

-- name: mark_some_read
-- plan: custom
-- Marks the oldest unread messages of others after $4 and after read_to, up to which the member has read everything. It
-- marks at most $5 of them among the next $6 numbers, so that the room is locked for milliseconds, and not at all if
-- nothing is unread. Returns one row: the newly marked messages, the number that was reached, whether the room has more
-- after it, and the servers that had sessions in the room when it was locked.
WITH room AS MATERIALIZED (
    SELECT r.room_id, r.last_seq, greatest($4::bigint, rm.read_to) AS start
    FROM rooms r JOIN users u ON u.user_id = $2 AND u.removed_at IS NULL
    LEFT JOIN room_members rm ON rm.room_id = r.room_id AND rm.user_id = $2
    WHERE r.room_name = $1
), part AS MATERIALIZED (
    SELECT m.message_id, m.seq FROM room r
    JOIN messages m ON m.room_id = r.room_id AND m.seq > r.start AND m.seq <= r.start + $6::bigint
    WHERE m.user_id IS DISTINCT FROM $2 AND NOT m.is_deleted
      AND NOT EXISTS (SELECT FROM message_reads d WHERE d.message_id = m.message_id AND d.user_id = $2)
    ORDER BY m.seq LIMIT $5::bigint
), place AS MATERIALIZED (
    SELECT r.room_id, r.last_seq, CASE WHEN (SELECT count(*) FROM part) = $5::bigint THEN (SELECT max(seq) FROM part)
                                       ELSE least(r.start + $6::bigint, greatest(r.last_seq, r.start)) END AS reached
    FROM room r
), locked AS MATERIALIZED (
    SELECT r.room_id FROM rooms r WHERE r.room_id = (SELECT room_id FROM room WHERE EXISTS (SELECT FROM part))
    FOR NO KEY UPDATE
), member AS (
    UPDATE room_members rm SET read_to = p.reached FROM place p
    WHERE rm.room_id = p.room_id AND rm.user_id = $2 AND rm.read_to >= $4::bigint AND rm.read_to < p.reached
      AND (SELECT count(*) FROM locked) >= 0
), delivered AS (
    INSERT INTO message_deliveries (message_id, user_id, delivered_at, is_read)
    SELECT u.message_id, $2, $3, true FROM locked CROSS JOIN part u ORDER BY u.message_id ON CONFLICT DO NOTHING
), read AS (
    INSERT INTO message_reads (message_id, user_id, read_at)
    SELECT u.message_id, $2, $3 FROM locked CROSS JOIN part u ORDER BY u.message_id ON CONFLICT DO NOTHING
    RETURNING message_id
)
SELECT ARRAY(SELECT u.message_id::text FROM read r JOIN part u ON u.message_id = r.message_id ORDER BY u.seq),
       p.reached, p.reached < p.last_seq, h.servers
FROM place p LEFT JOIN servers_of(ARRAY(SELECT room_id FROM locked)) h ON h.room_id = p.room_id;

-- name: mark_some_read_by_guest
-- plan: custom
-- The same for a guest. A guest is no member, so all messages are compared with those that the guest has read.
WITH room AS MATERIALIZED (
    SELECT r.room_id, r.last_seq, $4::bigint AS start FROM rooms r WHERE r.room_name = $1
), part AS MATERIALIZED (
    SELECT m.message_id, m.seq FROM room r
    JOIN messages m ON m.room_id = r.room_id AND m.seq > r.start AND m.seq <= r.start + $6::bigint
    WHERE m.guest_id IS DISTINCT FROM $2 AND NOT m.is_deleted
      AND NOT EXISTS (SELECT FROM message_reads d WHERE d.message_id = m.message_id AND d.guest_id = $2)
    ORDER BY m.seq LIMIT $5::bigint
), place AS MATERIALIZED (
    SELECT r.room_id, r.last_seq, CASE WHEN (SELECT count(*) FROM part) = $5::bigint THEN (SELECT max(seq) FROM part)
                                       ELSE least(r.start + $6::bigint, greatest(r.last_seq, r.start)) END AS reached
    FROM room r
), locked AS MATERIALIZED (
    SELECT r.room_id FROM rooms r WHERE r.room_id = (SELECT room_id FROM room WHERE EXISTS (SELECT FROM part))
    FOR NO KEY UPDATE
), delivered AS (
    INSERT INTO message_deliveries (message_id, guest_id, delivered_at, is_read)
    SELECT u.message_id, $2, $3, true FROM locked CROSS JOIN part u ORDER BY u.message_id ON CONFLICT DO NOTHING
), read AS (
    INSERT INTO message_reads (message_id, guest_id, read_at)
    SELECT u.message_id, $2, $3 FROM locked CROSS JOIN part u ORDER BY u.message_id ON CONFLICT DO NOTHING
    RETURNING message_id
)
SELECT ARRAY(SELECT u.message_id::text FROM read r JOIN part u ON u.message_id = r.message_id ORDER BY u.seq),
       p.reached, p.reached < p.last_seq, h.servers
FROM place p LEFT JOIN servers_of(ARRAY(SELECT room_id FROM locked)) h ON h.room_id = p.room_id;
