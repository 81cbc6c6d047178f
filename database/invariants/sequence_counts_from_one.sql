-- A room's sequence numbers are different from each other and begin at 1 or later.
SELECT room_id, seq, count(*) AS messages
FROM messages
GROUP BY room_id, seq
HAVING count(*) > 1 OR seq < 1;
