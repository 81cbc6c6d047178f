-- A user without a session is offline.
SELECT u.user_id, u.username
FROM users u
WHERE u.status = 'online' AND NOT EXISTS (SELECT FROM active_sessions s WHERE s.user_id = u.user_id);
