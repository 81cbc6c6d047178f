-- name: snapshot_users
-- All accounts by id, along the primary key. Accounts that are being deleted are left out, with messages and receipts.
SELECT user_id::text, username, email, password AS password_hash, display_name, avatar, bio, last_seen, created_at,
       last_login
FROM users WHERE removed_at IS NULL ORDER BY user_id;

-- name: snapshot_rooms
SELECT room_id, room_name AS name, created_at, last_seq FROM rooms ORDER BY room_name COLLATE "C";

-- name: snapshot_messages
-- The messages of one room by number, along messages_room_id_seq_key, without those that are marked as deleted.
SELECT message_id::text, seq, coalesce(user_id::text, guest_id), guest_name, message_text, created_at, edited_at,
       client_message_id
FROM messages m WHERE room_id = $1 AND NOT is_deleted
  AND NOT EXISTS (SELECT FROM users u WHERE u.user_id = m.user_id AND u.removed_at IS NOT NULL)
ORDER BY seq;

-- name: snapshot_deliveries
SELECT message_id::text, coalesce(user_id::text, guest_id), delivered_at
FROM message_deliveries d WHERE message_id = ANY ($1::uuid[])
  AND NOT EXISTS (SELECT FROM users u WHERE u.user_id = d.user_id AND u.removed_at IS NOT NULL)
ORDER BY coalesce(user_id::text, guest_id) COLLATE "C";

-- name: snapshot_reads
SELECT message_id::text, coalesce(user_id::text, guest_id), read_at
FROM message_reads d WHERE message_id = ANY ($1::uuid[])
  AND NOT EXISTS (SELECT FROM users u WHERE u.user_id = d.user_id AND u.removed_at IS NOT NULL)
ORDER BY coalesce(user_id::text, guest_id) COLLATE "C";

-- name: present_users
SELECT user_id::text FROM users WHERE user_id = ANY ($1::uuid[]);

-- name: present_messages
SELECT message_id::text FROM messages WHERE message_id = ANY ($1::uuid[]);

-- name: restore_rooms
-- A number without a message counts as removed, so that total_messages stays exact during the import.
INSERT INTO rooms AS r (room_name, created_at, last_seq, removed_count)
SELECT g.room_name, g.created_at, g.last_seq, g.last_seq
FROM unnest($1::text[], $2::timestamptz[], $3::bigint[]) AS g (room_name, created_at, last_seq)
ORDER BY g.room_name COLLATE "C"
ON CONFLICT (room_name) DO UPDATE SET
    created_at = excluded.created_at,
    removed_count = r.removed_count + greatest(excluded.last_seq - r.last_seq, 0),
    last_seq = greatest(r.last_seq, excluded.last_seq)
RETURNING xmax = 0 AS added;

-- name: lock_rooms
SELECT room_name, room_id FROM rooms WHERE room_name = ANY ($1::text[]) ORDER BY room_id FOR NO KEY UPDATE;

-- name: count_restored
-- $2 messages were added to room $1, $3 of them read. $4 is their highest number.
UPDATE rooms SET
    removed_count = removed_count - $2::bigint + greatest($4::bigint - last_seq, 0),
    read_count = read_count + $3::bigint,
    last_seq = greatest(last_seq, $4::bigint)
WHERE room_id = $1;

-- name: unread_restored
-- Members of room $1 who had read everything have not read the added messages. $2 is their lowest number.
UPDATE room_members SET read_to = $2::bigint - 1 WHERE room_id = $1 AND read_to >= $2::bigint;

-- name: epoch
SELECT current_epoch();

-- name: change_epoch
-- After a restore, numbers may be assigned a second time.
UPDATE chat_epoch SET epoch = gen_random_uuid();
