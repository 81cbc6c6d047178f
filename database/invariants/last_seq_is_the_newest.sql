-- No message has a greater sequence number than its room has assigned.
SELECT r.room_name, r.last_seq, max(m.seq) AS newest
FROM rooms r JOIN messages m USING (room_id)
GROUP BY r.room_id
HAVING max(m.seq) > r.last_seq;
