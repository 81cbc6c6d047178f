-- Every room with its messages, members and active users, those with the most messages first.
SELECT v.room_id::text AS room_id,
       v.room_name,
       v.total_messages AS messages,
       r.removed_count AS removed_messages,
       v.total_members AS members,
       v.active_users,
       v.last_message_at,
       r.created_at
FROM room_stats_view v
JOIN rooms r USING (room_id)
ORDER BY messages DESC, v.room_name;
