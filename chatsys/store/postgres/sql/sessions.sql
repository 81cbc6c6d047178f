-- name: open_sessions
-- One flush: many sessions. No participant and no socket is in it twice. A socket that has a session keeps it. If the
-- account is gone, the row is missing; if the room is missing, session_id is NULL.
-- If there are other servers, the locks keep them from writing in the rooms until the commit. Earlier messages are in
-- last_seq and in what is read after this; writers of later messages find this server among those in the room.
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[],
                         $8::uuid[])
        WITH ORDINALITY AS g (session_id, socket_id, room_name, user_id, guest_id, guest_name, at, server_id, place)
), locked AS MATERIALIZED (
    SELECT r.room_id, r.last_seq FROM rooms r
    WHERE r.room_name = ANY ($3::text[]) AND (SELECT count(*) > 1 FROM chat_servers)
    ORDER BY r.room_id FOR UPDATE
), account AS MATERIALIZED (
    SELECT u.user_id FROM users u
    WHERE u.user_id = ANY ($4::uuid[]) AND u.removed_at IS NULL AND (SELECT count(*) FROM locked) >= 0
    ORDER BY u.user_id FOR NO KEY UPDATE
), valid AS MATERIALIZED (
    SELECT g.*, r.room_id, coalesce(l.last_seq, r.last_seq) AS last_seq
    FROM given g LEFT JOIN rooms r ON r.room_name = g.room_name LEFT JOIN locked l ON l.room_id = r.room_id
    WHERE g.user_id IS NULL OR g.user_id IN (SELECT a.user_id FROM account a)
), server AS (
    INSERT INTO chat_servers (server_id, started_at, lease_until)
    SELECT v.server_id, now(), now() + $9 FROM valid v GROUP BY v.server_id ORDER BY v.server_id
    ON CONFLICT (server_id) DO NOTHING
), online AS (
    UPDATE users u SET status = 'online', last_seen = v.at FROM valid v
    WHERE u.user_id = v.user_id AND v.room_id IS NOT NULL
), opened AS (
    INSERT INTO active_sessions (session_id, user_id, socket_id, room_id, connected_at, last_activity, guest_id,
                                 guest_name, server_id)
    SELECT v.session_id, v.user_id, v.socket_id, v.room_id, v.at, v.at, v.guest_id, v.guest_name, v.server_id
    FROM valid v WHERE v.room_id IS NOT NULL ORDER BY v.place
    ON CONFLICT (socket_id) DO NOTHING
), member AS (
    INSERT INTO room_members (room_id, user_id, joined_at)
    SELECT v.room_id, v.user_id, v.at FROM valid v
    WHERE v.user_id IS NOT NULL AND v.room_id IS NOT NULL ORDER BY v.room_id, v.user_id
    ON CONFLICT (room_id, user_id) DO UPDATE SET is_active = true, left_at = NULL
)
SELECT v.place, v.last_seq,
       CASE WHEN v.room_id IS NOT NULL THEN coalesce(s.session_id, v.session_id)::text END AS session_id,
       v.socket_id, coalesce(sr.room_name, v.room_name) AS room_name, coalesce(s.connected_at, v.at) AS connected_at,
       u.user_id::text, CASE WHEN s.session_id IS NULL THEN v.guest_id ELSE s.guest_id END AS guest_id,
       CASE WHEN s.session_id IS NULL THEN v.guest_name ELSE s.guest_name END AS guest_name,
       u.username, u.display_name, u.avatar,
       CASE WHEN u.user_id IS NULL OR u.user_id = v.user_id THEN true ELSE u.status = 'online' END AS online,
       CASE WHEN u.user_id = v.user_id THEN v.at ELSE u.last_seen END AS last_seen,
       (SELECT current_epoch()) AS epoch,
       h.servers
FROM valid v
LEFT JOIN servers_of(ARRAY(SELECT DISTINCT room_id FROM valid)) h ON h.room_id = v.room_id
LEFT JOIN active_sessions s ON s.socket_id = v.socket_id
LEFT JOIN rooms sr ON sr.room_id = s.room_id
LEFT JOIN users u ON u.user_id = CASE WHEN s.session_id IS NULL THEN v.user_id ELSE s.user_id END;

-- name: close_sessions
-- Ends these sessions, each at its own time. Returns them in order of joining, with the servers that had sessions in
-- the rooms before, because a session may belong to another server. Rooms are locked against joins on other servers,
-- before the users, as in every statement.
WITH locked AS MATERIALIZED (
    SELECT r.room_id, r.room_name FROM rooms r
    WHERE r.room_id IN (SELECT s.room_id FROM active_sessions s WHERE s.session_id = ANY ($1::uuid[]))
      AND (SELECT count(*) > 1 FROM chat_servers)
    ORDER BY r.room_id FOR KEY SHARE
), sharing AS MATERIALIZED (
    SELECT h.room_id, h.servers FROM servers_of(ARRAY(SELECT room_id FROM locked)) h
), ended AS MATERIALIZED (
    SELECT e.* FROM end_sessions($1, $2) WITH ORDINALITY AS e WHERE (SELECT count(*) FROM sharing) >= 0
)
SELECT e.session_id::text, e.socket_id, e.room_name, e.connected_at, e.user_id::text, e.guest_id, e.guest_name, e.username,
       e.display_name, e.avatar, e.online, e.last_seen, e.last, t.servers
FROM ended e LEFT JOIN locked l ON l.room_name = e.room_name LEFT JOIN sharing t ON t.room_id = l.room_id
ORDER BY e.ordinality;

-- name: sessions
SELECT s.session_id::text, s.socket_id, r.room_name, s.connected_at, s.user_id::text, s.guest_id, s.guest_name,
       u.username, u.display_name, u.avatar, coalesce(u.status = 'online', true) AS online, u.last_seen
FROM rooms r JOIN active_sessions s ON s.room_id = r.room_id LEFT JOIN users u ON u.user_id = s.user_id
WHERE r.room_name = $1 ORDER BY s.place;

-- name: user_sessions
SELECT s.session_id::text, s.socket_id, r.room_name, s.connected_at, s.user_id::text, s.guest_id, s.guest_name,
       u.username, u.display_name, u.avatar, u.status = 'online' AS online, u.last_seen
FROM active_sessions s JOIN rooms r ON r.room_id = s.room_id JOIN users u ON u.user_id = s.user_id
WHERE s.user_id = $1 ORDER BY s.place;

-- name: newest_sessions
SELECT s.session_id::text, s.socket_id, r.room_name, s.connected_at, s.user_id::text, s.guest_id, s.guest_name,
       u.username, u.display_name, u.avatar, coalesce(u.status = 'online', true) AS online, u.last_seen, s.all_sessions
FROM rooms r
JOIN LATERAL (SELECT a.*, count(*) OVER () AS all_sessions FROM active_sessions a WHERE a.room_id = r.room_id
              ORDER BY a.place DESC LIMIT $2) s ON true
LEFT JOIN users u ON u.user_id = s.user_id
WHERE r.room_name = $1 ORDER BY s.place;
