-- The sender of a message is not among those who read it.
SELECT r.message_id, r.user_id, r.guest_id
FROM message_reads r JOIN messages m USING (message_id)
WHERE r.user_id = m.user_id OR r.guest_id = m.guest_id;
