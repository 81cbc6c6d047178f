-- name: make_rooms
-- Creates missing rooms for guests and for accounts that exist: an account that is gone creates no room.
INSERT INTO rooms (room_name, created_at, updated_at)
SELECT g.room_name, min(g.at), min(g.at)
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[]) AS g (room_name, user_id, at)
WHERE g.user_id IS NULL OR EXISTS (SELECT FROM users u WHERE u.user_id = g.user_id AND u.removed_at IS NULL)
GROUP BY g.room_name ORDER BY g.room_name COLLATE "C"
ON CONFLICT (room_name) DO NOTHING;

-- name: rooms
-- A page of the list, along rooms_room_name_order_idx.
SELECT r.room_name,
       (SELECT count(DISTINCT coalesce(s.user_id::text, s.guest_id))
          FROM active_sessions s WHERE s.room_id = r.room_id) AS user_count,
       coalesce((SELECT m.created_at FROM messages m WHERE m.room_id = r.room_id AND NOT m.is_deleted
                 ORDER BY m.seq DESC LIMIT 1),
                date_trunc('milliseconds', r.created_at)) AS last_activity
FROM rooms r WHERE r.room_name COLLATE "C" > $2 ORDER BY r.room_name COLLATE "C" LIMIT $1;

-- name: room_stats
-- The counters of the room, which triggers maintain: the cost is the same for ten messages and for ten million.
SELECT r.last_seq - r.removed_count, r.last_seq - r.removed_count - r.read_count,
       (SELECT count(DISTINCT coalesce(s.user_id::text, s.guest_id)) FROM active_sessions s WHERE s.room_id = r.room_id)
FROM rooms r WHERE r.room_name = $1;

-- name: activity
SELECT count(*), count(DISTINCT room_id) FROM active_sessions;
