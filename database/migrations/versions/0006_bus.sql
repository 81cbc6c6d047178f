-- The key that authenticates messages between servers: without access to this table, nobody can forge one.
CREATE TABLE bus_key (
    key bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    only_row boolean CONSTRAINT bus_key_pkey PRIMARY KEY DEFAULT true
        CONSTRAINT bus_key_only_row_check CHECK (only_row)
);
REVOKE ALL ON bus_key FROM PUBLIC;
INSERT INTO bus_key DEFAULT VALUES;

CREATE INDEX active_sessions_room_id_server_id_idx ON active_sessions (room_id, server_id);
DROP INDEX active_sessions_room_id_idx;

-- The servers that have sessions in these rooms, as of the call and not as of the snapshot of the calling statement. So
-- a statement that calls it after locking the rooms misses no server. Returns nothing if there is only one server.
CREATE FUNCTION servers_of(room_ids uuid[]) RETURNS TABLE (room_id uuid, servers text[]) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF (SELECT count(*) FROM chat_servers) > 1 THEN
        RETURN QUERY
        SELECT r.room_id, array_agg(c.server_id::text)
        FROM unnest(room_ids) AS r (room_id) CROSS JOIN chat_servers c
        WHERE EXISTS (SELECT FROM active_sessions s WHERE s.room_id = r.room_id AND s.server_id = c.server_id)
        GROUP BY r.room_id;
    END IF;
END
$$;
