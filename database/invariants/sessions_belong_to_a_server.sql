-- Each session belongs to a server process that has registered.
SELECT session_id, socket_id FROM active_sessions WHERE server_id IS NULL;
