-- Rows that a dead server left behind: sessions without a living server, servers whose lease is over, and users who are
-- marked online but have no session.
SELECT 'session without server' AS kind,
       s.session_id::text AS object_id,
       coalesce(u.username, s.guest_name) AS name,
       s.last_activity AS since
FROM active_sessions s
LEFT JOIN users u ON u.user_id = s.user_id
LEFT JOIN chat_servers c ON c.server_id = s.server_id
WHERE c.lease_until IS NULL OR c.lease_until < now()
UNION ALL
SELECT 'server past its lease', server_id::text, NULL, lease_until
FROM chat_servers
WHERE lease_until < now()
UNION ALL
SELECT 'online without session', u.user_id::text, u.username, u.last_seen
FROM users u
WHERE u.status = 'online' AND NOT EXISTS (SELECT FROM active_sessions s WHERE s.user_id = u.user_id)
ORDER BY 1, 4, 2;
