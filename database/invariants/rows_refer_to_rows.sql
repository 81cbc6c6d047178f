-- Every row that another row refers to exists, even if a foreign key was switched off or its index was damaged.
SELECT 'messages' AS source, m.message_id AS id FROM messages m LEFT JOIN rooms r USING (room_id)
    WHERE r.room_id IS NULL
UNION ALL SELECT 'messages', m.message_id FROM messages m LEFT JOIN users u USING (user_id)
    WHERE m.user_id IS NOT NULL AND u.user_id IS NULL
UNION ALL SELECT 'message_reads', r.read_id FROM message_reads r LEFT JOIN messages m USING (message_id)
    WHERE m.message_id IS NULL
UNION ALL SELECT 'message_deliveries', d.delivery_id FROM message_deliveries d LEFT JOIN messages m USING (message_id)
    WHERE m.message_id IS NULL;
