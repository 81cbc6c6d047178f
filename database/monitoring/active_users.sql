-- Users and guests who have a session now, the most recently active first.
SELECT coalesce(s.user_id::text, s.guest_id) AS user_id,
       coalesce(u.username, max(s.guest_name)) AS username,
       s.user_id IS NULL AS is_guest,
       u.status,
       count(*) AS sessions,
       count(DISTINCT s.room_id) AS rooms,
       min(s.connected_at) AS connected_at,
       max(s.last_activity) AS last_activity_at,
       (extract(epoch FROM clock_timestamp() - max(s.last_activity)) * 1000)::float8 AS idle_ms
FROM active_sessions s
LEFT JOIN users u ON u.user_id = s.user_id
GROUP BY s.user_id, s.guest_id, u.user_id
ORDER BY last_activity_at DESC, 1;
