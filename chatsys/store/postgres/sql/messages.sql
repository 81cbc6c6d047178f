-- name: post_messages
-- One flush: many messages to many rooms, each with its room's next number, in one transaction.
--
-- The rooms are locked in order of their ids, so that two servers never deadlock. After waiting for a lock, the
-- statement sees the room's newest last_seq. It does not see a message that another server stored meanwhile under the
-- same client id. The unique index then fails the statement, no number is used up, and the writer repeats the flush.
-- The column servers is read once the rooms are locked. Clients that join after that read what this statement stored.
-- A row without seq was not stored. Then first_id is the message that was stored before, or the room does not exist
-- (has_room), or the sender is gone.
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                         $8::text[])
        WITH ORDINALITY AS g (message_id, room_name, user_id, guest_id, guest_name, message_text, at, client_id, place)
), room AS MATERIALIZED (
    SELECT r.room_id, r.room_name, r.last_seq FROM rooms r WHERE r.room_name = ANY ($9::text[])
    ORDER BY r.room_id FOR NO KEY UPDATE
), sender AS MATERIALIZED (
    SELECT u.user_id, u.username, u.display_name, u.avatar FROM users u
    WHERE u.user_id = ANY ($10::uuid[]) AND u.removed_at IS NULL
), known AS MATERIALIZED (
    SELECT g.place, m.message_id FROM given g
    JOIN messages m ON m.user_id = g.user_id AND m.client_message_id = g.client_id
    UNION ALL
    SELECT g.place, m.message_id FROM given g JOIN room r ON r.room_name = g.room_name
    JOIN messages m ON m.room_id = r.room_id AND m.guest_id = g.guest_id AND m.client_message_id = g.client_id
), fresh AS MATERIALIZED (
    SELECT g.*, r.room_id, r.last_seq + row_number() OVER (PARTITION BY r.room_id ORDER BY g.place) AS seq
    FROM given g JOIN room r ON r.room_name = g.room_name
    WHERE (g.user_id IS NULL OR g.user_id IN (SELECT s.user_id FROM sender s))
      AND g.place NOT IN (SELECT k.place FROM known k)
), numbered AS (
    UPDATE rooms r SET last_seq = top.seq
    FROM (SELECT f.room_id, max(f.seq) AS seq FROM fresh f GROUP BY f.room_id) top
    WHERE r.room_id = top.room_id
), stored AS (
    INSERT INTO messages (message_id, room_id, seq, user_id, guest_id, guest_name, message_text, created_at,
                          client_message_id)
    SELECT f.message_id, f.room_id, f.seq, f.user_id, f.guest_id, f.guest_name, f.message_text, f.at, f.client_id
    FROM fresh f ORDER BY f.place
)
SELECT f.seq, k.message_id::text AS first_id, r.room_id IS NOT NULL AS has_room, s.username, s.display_name, s.avatar,
       h.servers
FROM given g
LEFT JOIN room r ON r.room_name = g.room_name
LEFT JOIN servers_of(ARRAY(SELECT room_id FROM room)) h ON h.room_id = r.room_id
LEFT JOIN fresh f ON f.place = g.place
LEFT JOIN known k ON k.place = g.place
LEFT JOIN sender s ON s.user_id = g.user_id
ORDER BY g.place;

-- name: post_new_messages
-- The same at half the cost, for a flush without client ids, in which no message can have been stored before. The
-- caller counts: $2 is the position of each message's room in $8, $3 the message's number among those to the same room,
-- and $9 the number of messages to each room. If a sender is gone, the foreign key fails the statement, or the sender's
-- profile is missing and nothing was stored. The caller then uses post_messages, which tells whose account is gone.
-- Numbers, ids and times (seconds since 1970) are passed as the text of an array, and a column that is NULL in all rows
-- as an empty one, because the driver takes longer for each element of a list than PostgreSQL for everything else.
-- Returns a row for each room that exists: its position, the number after which its messages are counted, and the
-- servers that have sessions in it. The senders' profiles follow.
WITH room AS MATERIALIZED (
    SELECT r.room_id, g.place, r.last_seq, g.messages
    FROM unnest($8::text[], $9::text::int[]) WITH ORDINALITY AS g (room_name, messages, place)
    JOIN rooms r ON r.room_name = g.room_name
    ORDER BY r.room_id FOR NO KEY UPDATE OF r
), sender AS MATERIALIZED (
    SELECT u.user_id, u.username, u.display_name, u.avatar FROM users u
    WHERE u.user_id = ANY ($11::text::uuid[]) AND u.removed_at IS NULL
), complete AS MATERIALIZED (
    SELECT count(*) = cardinality($11::text::uuid[]) AS yes FROM sender
), numbered AS (
    UPDATE rooms r SET last_seq = l.last_seq + l.messages FROM room l
    WHERE r.room_id = l.room_id AND (SELECT yes FROM complete)
), stored AS (
    INSERT INTO messages (message_id, room_id, seq, user_id, guest_id, guest_name, message_text, created_at)
    SELECT g.message_id, l.room_id, l.last_seq + g.number, g.user_id, g.guest_id, g.guest_name, g.message_text,
           to_timestamp(g.at)
    FROM unnest($1::text::uuid[], $2::text::int[], $3::text::int[], $4::text::uuid[], $5::text[], $6::text[], $7::text[],
                $10::text::float8[])
        AS g (message_id, place, number, user_id, guest_id, guest_name, message_text, at)
    JOIN room l ON l.place = g.place
    WHERE (SELECT yes FROM complete)
)
SELECT l.place, l.last_seq, NULL, NULL, NULL, NULL, h.servers
FROM room l LEFT JOIN servers_of(ARRAY(SELECT room_id FROM room)) h ON h.room_id = l.room_id
UNION ALL
SELECT NULL, NULL, s.user_id::text, s.username, s.display_name, s.avatar, NULL FROM sender s;

-- part: packed
string_agg(d.user_id::text, ' ') AS accounts,
           string_agg(CASE WHEN d.is_read THEN '' ELSE '!' END
                      || coalesce(d.user_id::text, '~' || encode(convert_to(d.guest_id, 'UTF8'), 'hex')), ' ')
               FILTER (WHERE NOT d.is_read OR d.guest_id IS NOT NULL) AS marked

-- part: message
m.message_id::text, m.seq, coalesce(m.user_id::text, m.guest_id), coalesce(u.username, m.guest_name),
       coalesce(u.display_name, m.guest_name), u.avatar, m.message_text, m.created_at, m.edited_at, r.accounts, r.marked

-- part: senders_and_receipts
LEFT JOIN users u ON u.user_id = m.user_id
LEFT JOIN LATERAL (SELECT {packed} FROM message_deliveries d WHERE d.message_id = m.message_id) r ON true

-- name: history
-- The newest 100 messages. The page is selected first, along messages_room_id_seq_key. Then receipts and senders are
-- looked up for the whole page: one walk along each index instead of a descent for each message. Rows are in no order,
-- because sorting is cheaper after decoding. Messages that the original backend marked as deleted are left out.
-- $2 is the version of the caller's cached profiles (see profiles_version). If this snapshot has the same version, the
-- senders' profiles are left out. Each row has the snapshot's version in place of the room's name.
-- If the texts have more than $3 bytes in total, only the newest are returned, including the one that exceeds $3.
-- The receipts of a message are packed into two texts, which costs half of what arrays cost. The first has the ids of
-- the accounts that received it, separated by spaces. The second, mostly NULL, has those that differ from "an account
-- has read it": a "!" before the id of someone who has not read it, and guests' ids as a tilde and the bytes in
-- hexadecimal. rows.py unpacks both.
WITH profiles AS MATERIALIZED (
    SELECT version::text FROM profiles_version
), page AS MATERIALIZED (
    SELECT message_id, seq, user_id, guest_id, guest_name, message_text, created_at, edited_at
    FROM messages WHERE room_id = (SELECT room_id FROM rooms WHERE room_name = $1::text) AND NOT is_deleted
    ORDER BY seq DESC LIMIT 100
), size AS MATERIALIZED (
    SELECT sum(octet_length(message_text)) AS bytes FROM page
), fitting AS (
    SELECT * FROM page WHERE (SELECT bytes FROM size) <= $3
    UNION ALL
    SELECT message_id, seq, user_id, guest_id, guest_name, message_text, created_at, edited_at
    FROM (SELECT *, sum(octet_length(message_text)) OVER (ORDER BY seq DESC) - octet_length(message_text) AS newer
          FROM page WHERE (SELECT bytes FROM size) > $3) p
    WHERE newer < $3
)
SELECT (SELECT version FROM profiles), {message}
FROM fitting m
LEFT JOIN (
    SELECT user_id, username, display_name, avatar FROM users
    WHERE user_id = ANY (ARRAY(SELECT user_id FROM page WHERE (SELECT version FROM profiles) IS DISTINCT FROM $2::text))
) u ON u.user_id = m.user_id
LEFT JOIN (
    SELECT d.message_id, {packed}
    FROM message_deliveries d WHERE d.message_id = ANY (ARRAY(SELECT message_id FROM page)) GROUP BY d.message_id
) r ON r.message_id = m.message_id;

-- name: long_history
-- plan: custom
-- The newest $3 messages with numbers between $4 and $5, after skipping $2, with texts of $6 bytes. This form is
-- planned in half the time, which matters for a few messages. If no number is missing in the room, the first number is
-- computed. Otherwise rows are skipped one by one, or none is read if $2 skips all messages of the room.
WITH room AS MATERIALIZED (
    SELECT room_id, removed_count = 0 AS whole, least(last_seq, $5::bigint - 1) AS top, last_seq - removed_count AS stored
    FROM rooms WHERE room_name = $1::text
), page AS MATERIALIZED (
    SELECT message_id, seq, user_id, guest_id, guest_name, message_text, created_at, edited_at
    FROM messages
    WHERE room_id = (SELECT room_id FROM room) AND NOT is_deleted AND seq > $4::bigint
      AND seq <= (SELECT CASE WHEN whole THEN top - $2::bigint WHEN $2::bigint >= stored THEN 0 ELSE top END FROM room)
    ORDER BY seq DESC OFFSET (SELECT CASE WHEN whole THEN 0 ELSE $2::bigint END FROM room) LIMIT $3
)
SELECT $1::text, {message}
FROM (SELECT *, sum(octet_length(message_text)) OVER (ORDER BY seq DESC) - octet_length(message_text) AS newer
      FROM page) m
{senders_and_receipts}
WHERE m.newer < $6::bigint;

-- name: messages_by_id
-- Messages that were stored before under a client id.
SELECT o.room_name, {message}
FROM (SELECT * FROM messages WHERE message_id = ANY ($1::uuid[])) m
JOIN rooms o ON o.room_id = m.room_id
{senders_and_receipts};
