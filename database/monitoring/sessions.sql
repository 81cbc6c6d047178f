-- Every session, the newest first, and whether the server that holds it still keeps its lease.
SELECT s.session_id::text AS session_id,
       coalesce(s.user_id::text, s.guest_id) AS user_id,
       coalesce(u.username, s.guest_name) AS username,
       s.user_id IS NULL AS is_guest,
       r.room_name,
       s.socket_id,
       s.server_id::text AS server_id,
       coalesce(c.lease_until > now(), false) AS is_server_alive,
       s.connected_at,
       s.last_activity AS last_activity_at,
       (extract(epoch FROM clock_timestamp() - s.connected_at) * 1000)::float8 AS age_ms,
       (extract(epoch FROM clock_timestamp() - s.last_activity) * 1000)::float8 AS idle_ms
FROM active_sessions s
JOIN rooms r USING (room_id)
LEFT JOIN users u ON u.user_id = s.user_id
LEFT JOIN chat_servers c ON c.server_id = s.server_id
ORDER BY s.connected_at DESC, s.session_id;
