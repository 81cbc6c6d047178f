-- Rooms that are too large: each message goes to everybody in the room.
SELECT r.room_name AS object,
       format('%s sessions and %s messages', s.sessions, to_char(r.last_seq - r.removed_count, 'FM999,999,999,999')) AS evidence,
       CASE WHEN s.sessions >= :room_sessions THEN 'Split the room: a message to N members costs N deliveries and N receipts'
            ELSE 'chatsys db cleanup --messages-older-than 365d --dry-run' END AS command
FROM rooms r
CROSS JOIN LATERAL (SELECT count(*) AS sessions FROM active_sessions a WHERE a.room_id = r.room_id) s
WHERE s.sessions >= :room_sessions OR r.last_seq - r.removed_count >= :room_messages
ORDER BY s.sessions DESC, r.last_seq DESC
LIMIT 10;
