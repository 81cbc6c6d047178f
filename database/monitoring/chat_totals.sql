-- The chat in one row. messages_total counts every message ever stored, including deleted ones: it is the sum of the
-- rooms' sequence numbers, and cheap at any size.
SELECT (SELECT coalesce(sum(last_seq), 0)::bigint FROM rooms) AS messages_total,
       (SELECT count(*) FROM rooms) AS rooms,
       (SELECT count(*) FROM active_sessions) AS sessions,
       (SELECT count(DISTINCT coalesce(user_id::text, guest_id)) FROM active_sessions) AS active_users,
       (SELECT count(DISTINCT room_id) FROM active_sessions) AS active_rooms,
       (SELECT count(*) FROM chat_servers WHERE lease_until > now()) AS servers;
