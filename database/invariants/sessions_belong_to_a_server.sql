-- Each session belongs to a server process that announced itself.
SELECT session_id, socket_id FROM active_sessions WHERE server_id IS NULL;
