-- Reading a message records its delivery as well.
SELECT r.message_id, r.user_id, r.guest_id
FROM message_reads r
WHERE NOT EXISTS (SELECT FROM message_deliveries d
                  WHERE d.message_id = r.message_id
                    AND (d.user_id = r.user_id OR d.guest_id = r.guest_id));
