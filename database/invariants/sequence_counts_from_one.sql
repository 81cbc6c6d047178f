-- A room's sequence numbers are distinct and at least 1.
SELECT room_id, seq, count(*) AS messages
FROM messages
GROUP BY room_id, seq
HAVING count(*) > 1 OR seq < 1;
