-- Sessions that a dead server left behind. Their users appear online.
SELECT 'active_sessions' AS object,
       format('%s sessions belong to no living server, the oldest quiet since %s', count(*),
              to_char(min(s.last_activity) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')) AS evidence,
       'Start a server, which ends them; or: chatsys db cleanup --sessions-older-than 1h' AS command
FROM active_sessions s
LEFT JOIN chat_servers c ON c.server_id = s.server_id
WHERE coalesce(c.lease_until, s.last_activity) < now() - make_interval(secs => :orphan_seconds)
HAVING count(*) > 0;
