-- A delivery is marked as read if, and only if, its reader has read the message.
SELECT d.delivery_id, d.message_id, d.is_read
FROM message_deliveries d
WHERE d.is_read <> EXISTS (SELECT FROM message_reads r
                           WHERE r.message_id = d.message_id AND (r.user_id = d.user_id OR r.guest_id = d.guest_id));
