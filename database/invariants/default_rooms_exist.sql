-- The default rooms exist.
SELECT wanted.room_name
FROM (VALUES ('general'), ('random'), ('tech')) wanted (room_name)
WHERE NOT EXISTS (SELECT FROM rooms r WHERE r.room_name = wanted.room_name);
